//! Several private RabbitMQ nodes that form one cluster.
//!
//! Each node is a [`Broker`] and can be killed, frozen and started again like one; they share users, exchanges and
//! queues. Quorum queues have a copy on every node.

use crate::broker::{Broker, Mapper};
use crate::bus::{Client, Queue};
use crate::error::{Error, Result};

/// A running cluster. Dropping it kills all nodes.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Broker>,
}

impl Cluster {
    /// Starts `count` nodes and waits until they know each other. Takes as long as `count` brokers one after the other.
    pub fn start(count: usize) -> Result<Self> {
        let mapper = Mapper::start()?;
        let mut nodes = (0..count).map(|_| Broker::prepare_with(mapper.clone())).collect::<Result<Vec<_>>>()?;
        if let Some(names) = nodes.first().map(|first| format!("{}\n", peers(first))) {
            for node in &nodes {
                node.configure(&names)?;
            }
        }
        // One after the other: the first one founds the cluster, the others find it.
        nodes.iter_mut().try_for_each(Broker::restart)?;
        let cluster = Self { nodes };
        cluster.check()?;
        Ok(cluster)
    }

    /// The nodes, in the order in which they were started.
    pub fn nodes(&self) -> &[Broker] {
        &self.nodes
    }

    /// The same, to kill and start them.
    pub fn nodes_mut(&mut self) -> &mut [Broker] {
        &mut self.nodes
    }

    /// Declares a quorum queue with one copy per node; its first leader is node number `leader`.
    pub fn declare_queue(&self, queue: Queue, leader: usize) -> Result<()> {
        let node = self.nodes.get(leader).ok_or_else(|| Error::new(format!("there is no node {leader}")))?;
        Client::new(node.port()).declare_queue(&queue.quorum())
    }

    /// Number of the node that leads the quorum queue `queue`, asked of node number `asked`.
    pub fn leader(&self, queue: &str, asked: usize) -> Result<usize> {
        let node = self.nodes.get(asked).ok_or_else(|| Error::new(format!("there is no node {asked}")))?;
        let list = node.ctl(&["list_queues", "--no-table-headers", "name", "leader"])?;
        let leader = list.lines().find_map(|line| line.strip_prefix(queue)?.trim().split_ascii_whitespace().next());
        let index = leader.and_then(|name| self.nodes.iter().position(|node| node.node() == name));
        index.ok_or_else(|| Error::new(format!("{queue} has no leader: {list}")))
    }

    fn check(&self) -> Result<()> {
        let Some(first) = self.nodes.first() else { return Ok(()) };
        let status = first.ctl(&["cluster_status"])?;
        match self.nodes.iter().find(|node| !status.contains(node.node())) {
            None => Ok(()),
            Some(missing) => Err(Error::new(format!("{} is not in the cluster:\n{status}", missing.node()))),
        }
    }
}

/// Where a node that starts for the first time looks for the cluster: at its founder.
fn peers(founder: &Broker) -> String {
    format!(
        "cluster_formation.peer_discovery_backend = classic_config\n\
         cluster_formation.classic_config.nodes.1 = {}",
        founder.node()
    )
}
