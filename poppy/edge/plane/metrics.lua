-- SPDX-License-Identifier: Apache-2.0
-- Serves the figures of the agent, which replaces the file as a whole.

core.register_service("agent_metrics", "http", function(applet)
    local file = io.open(os.getenv("POPPY_AGENT_METRICS"), "r")
    local text = file and file:read("a") or "The agent has not written any figures.\n"
    if file then
        file:close()
    end
    applet:set_status(file and 200 or 503)
    applet:add_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
    applet:add_header("Content-Length", #text)
    applet:start_response()
    applet:send(text)
end)
