-- SPDX-License-Identifier: Apache-2.0
-- A service that signs what a test asks for, with the function of origins_options.lua.

core.register_service("vector", "http", function(applet)
  local function asked(name)
    return applet.headers[name][0]
  end
  local fields = { { "host", asked("host") }, { "x-amz-date", asked("x-time") } }
  local s3 = { region = asked("x-region"), key = asked("x-key"), secret = asked("x-secret") }
  local signed = poppy_origins.signature(applet, s3, {
    method = applet.method, path = poppy_origins.canonical(applet.path), time = asked("x-time"),
    service = asked("x-service"), fields = fields,
  })
  applet:set_status(200)
  applet:add_header("content-length", tostring(#signed))
  applet:start_response()
  applet:send(signed)
end)
