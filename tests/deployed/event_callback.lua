-- The function that event_callback.cfg names. It "receives a string parameter with the name of the event, the values can
-- be: 'kazoo:mod-init', 'kazoo:consumer-event'".

function ksr_request_route()
end

function ksr_kazoo_event(event)
    if event == "kazoo:mod-init" then
        KSR.kazoo.kazoo_subscribe("{ 'exchange' : 'events', 'type' : 'topic', 'queue' : 'events-lua', 'routing' : '#' }")
    elseif event == "kazoo:consumer-event" then
        KSR.info("CALLBACK=" .. KSR.pv.get("$(kzE{kz.json,Event-Name})") .. "\n")
    end
end
