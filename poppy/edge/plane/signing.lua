-- SPDX-License-Identifier: Apache-2.0
-- Signed URLs: requests for some paths need a token (doc/source/signed-urls.rst has its format).
-- They are lines of policies (poppy.edge.plane.signed_urls) that policy.lua, which is loaded before,
-- does not know.

local policies = poppy_policies
local MOST_DECODINGS = 4
local LONGEST_TOKEN = 4096

local function base64_decoded(text, txn)
  -- The converter ignores the end of a text of an impossible length.
  return text and text:match("^[%w_-]*$") and #text % 4 ~= 1 and txn.c:ub64dec(text) or nil
end

-- Takes as long for texts that differ early as for those that differ late.
local function same(one, other)
  local difference = #one ~ #other
  for index = 1, math.min(#one, #other) do
    difference = difference | (one:byte(index) ~ other:byte(index))
  end
  return difference == 0
end

-- The value of the parameter or cookie, and the text without it.
local function cut(text, separator, name)
  local value
  local kept = {}
  for part in text:gmatch("[^" .. separator .. "]+") do
    local key, found = part:match("^%s*([^=]*)=?(.*)$")
    found = policies.trimmed(found)
    if policies.unescaped(key) == name then
      value = value or found
    else
      kept[#kept + 1] = part
    end
  end
  return value, table.concat(kept, separator)
end

local function cut_cookie(txn, name)
  if txn.f:req_fhdr_cnt("cookie") == 0 then
    return nil
  end
  local value
  local lines = {}
  for _, line in pairs(txn.http:req_get_headers()["cookie"]) do
    local found, rest = cut(line, ";", name)
    value = value or found
    lines[#lines + 1] = policies.trimmed(rest)
  end
  if value then
    txn.http:req_del_header("cookie")
    for _, line in ipairs(lines) do
      if line ~= "" then
        txn.http:req_add_header("cookie", line)
      end
    end
  end
  return value
end

local function readings_of(text)
  local asked = policies.asked_of(text, "")
  return { asked.path, table.unpack(asked.others or {}) }
end

-- The path as origins may read it that decode it more than once, and whether that is clear.
local function deep_readings_of(path)
  local readings, known, clear = {}, {}, true
  local layer = { path }
  for _ = 0, MOST_DECODINGS do
    local following = {}
    for _, text in ipairs(layer) do
      for _, reading in ipairs(readings_of(text)) do
        if not known[reading] then
          known[reading] = true
          readings[#readings + 1] = reading
          following[#following + 1] = reading
          if ("/" .. reading .. "/"):find("[/\\]%.%.?[/\\]") or reading:find("\\", 1, true) then
            clear = false
          end
        end
      end
    end
    if #following == 0 then
      return readings, clear
    end
    layer = following
  end
  return readings, false
end

-- Whether a token for the scope is one for this path. A prefix must be one however often the
-- path is decoded.
local function is_within(scope, path, readings, clear)
  if scope:sub(1, 1) ~= "/" then
    return false
  end
  local prefix = scope:match("^(.*)%*$")
  if not prefix then
    return policies.decoded(scope) == policies.decoded(path)
  end
  prefix = policies.decoded(prefix)
  for _, reading in ipairs(readings) do
    if reading:sub(1, #prefix) ~= prefix then
      return false
    end
  end
  return clear
end

local function is_protected(signing, readings)
  for _, pattern in ipairs(signing.patterns) do
    for _, reading in ipairs(readings) do
      if policies.matches(pattern, { path = reading }) then
        return true
      end
    end
  end
  return false
end

-- nil for a valid token, otherwise what replaces the entry of the request.
local function problem_of(signing, token, path, readings, clear, txn)
  if not token or #token > LONGEST_TOKEN then
    return "refused"
  end
  local payload, signature = token:match("^(.*)%.([%w_-]+)$")
  local id, expiry, client, scope =
    (payload or ""):match("^([%w_-]+)%.(%d+)%.([%w_-]*)%.([%w_-]+)$")
  local key = signing.keys[id]
  if not key or #expiry > 12 then
    return "refused"
  end
  if not same(txn.c:ub64enc(txn.c:hmac(payload, "sha256", key)), signature) then
    return "refused"
  end
  local address = txn.f:src():gsub("^::ffff:(%d+%.)", "%1")
  if client ~= "" and base64_decoded(client, txn) ~= address then
    return "refused"
  end
  if not is_within(base64_decoded(scope, txn) or "", path, readings, clear) then
    return "refused"
  end
  if core.now().sec >= tonumber(expiry) then
    return "expired"
  end
  return nil
end

function policies.readers.signed(policy, name)
  policy.signing = { name = name, keys = {}, patterns = {} }
end

function policies.readers.key(policy, id, secret)
  policy.signing.keys[id] = secret
end

function policies.readers.protect(policy, pattern)
  table.insert(policy.signing.patterns, policies.pattern_of(pattern))
end

-- Removes the token from the request, for the cache key and the origin, and returns it.
local function take(signing, txn)
  local cookie = cut_cookie(txn, signing.name)
  local path, query = txn.f:pathq():match("^([^?]*)%?(.*)$")
  if not path then
    return cookie
  end
  local value, rest = cut(query, "&", signing.name)
  if value then
    txn.http:req_set_uri(rest == "" and path or path .. "?" .. rest)
  end
  return value or cookie
end

-- Removes the mark from the entry if the request may go on.
core.register_action("check_token", { "http-req" }, function(txn)
  local digest, marks = txn:get_var("txn.entry"):match("^@(%x+)|signed(.*)$")
  local signing = policies.policy_of(txn:get_var("txn.service"), digest).signing
  local token = take(signing, txn)
  local path = txn.f:path()
  local readings, clear = deep_readings_of(path)
  local problem
  if not clear or is_protected(signing, readings) then
    problem = problem_of(signing, token, path, readings, clear, txn)
  end
  txn:set_var("txn.entry", problem or "@" .. digest .. marks)
end, 0)
