-- SPDX-License-Identifier: Apache-2.0
-- The sizes of responses without Content-Length, by service, host and URL. Varnish can't stop to
-- keep a response once it has begun, so it has to know before whether the response is too large.

local largest = tonumber(poppy_origins.settings.largest)
local MOST_ENTRIES = 20000 -- Of a thread. If there are more, all are measured again.

local sizes, count = {}, 0

local function remember(key, size)
  if sizes[key] == nil then
    if count == MOST_ENTRIES then
      sizes, count = {}, 0
    end
    count = count + 1
  end
  sizes[key] = size
end

core.register_action("known_size", { "http-res" }, function(txn)
  local size = sizes[txn:get_var("txn.p_measured")]
  if size then
    txn:set_var("txn.p_size", size <= largest and "small" or "large")
  end
end, 0)

-- A filter that measures the body of a response.
local Measure = {}
Measure.__index = Measure
Measure.flags = filter.FLT_CFG_FL_HTX

function Measure:new()
  return setmetatable({ size = 0 }, Measure)
end

function Measure:start_analyze(txn, channel)
  self.key = channel:is_resp() and txn:get_var("txn.p_measured")
  if self.key then
    filter.register_data_filter(self, channel)
  end
end

-- The rules have decided by now whether the size is wanted.
function Measure:http_headers(txn, message)
  if self.key and message.channel:is_resp() then
    self.key = txn:get_var("txn.p_measured")
    if not self.key then
      filter.unregister_data_filter(self, message.channel)
    end
  end
end

function Measure:http_payload(_, message)
  local size = message:input()
  self.size = self.size + size
  if self.key and self.size > largest then
    remember(self.key, self.size)
    self.key = nil
  end
  return size
end

function Measure:http_end(_, message)
  if self.key and message.channel:is_resp() then
    remember(self.key, self.size)
  end
end

core.register_filter("measure", Measure, function(measure)
  return measure
end)
