//! The result for programs: every run, and the summary of each cell.

use rig::{Error, Result};
use serde_json::{Value, json};

use super::targets::Target;
use super::{Report, Summary};
use crate::schedule::Cell;

/// The whole result.
pub fn text(report: &Report) -> Result<String> {
    let value = json!({
        "runs": report.conditions.runs,
        "seconds": report.conditions.seconds,
        "params": report.conditions.params_text(),
        "took_seconds": report.conditions.took.as_secs(),
        "machine": report.machine,
        "targets": report.targets.iter().map(target).collect::<Vec<Value>>(),
        "cells": report.cells.iter().map(cell).collect::<Vec<Value>>(),
    });
    serde_json::to_string_pretty(&value).map_err(|error| Error::new(format!("writing JSON: {error}")))
}

fn target(target: &Target) -> Value {
    json!({ "target": target, "met": target.is_met() })
}

fn cell(cell: &Cell) -> Value {
    json!({
        "workload": cell.point.key,
        "title": cell.point.title,
        "unit": cell.unit,
        "subject": cell.subject,
        "summary": Summary::of(cell),
        "runs": cell.runs,
    })
}
