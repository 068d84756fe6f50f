-- SPDX-License-Identifier: Apache-2.0
-- Redirects, CORS, changes of header fields and error pages: lines of policies (poppy.edge.plane.changes) that
-- policy.lua, which is loaded before, does not know. Values are percent-encoded.

local policies = poppy_policies
local LONGEST_LOCATION = 8000
local CORS_FIELDS = {
  "allow-origin", "allow-methods", "allow-headers", "allow-credentials", "expose-headers", "max-age",
}

local function quoted(text, kept)
  return (text:gsub("[^" .. kept .. "]", function(character)
    return ("%%%02X"):format(character:byte())
  end))
end

policies.readers.redirect = function(policy, target, pattern)
  local status, location = target:match("^(%d+)|(.*)$")
  local redirect = { status = tonumber(status), location = location }
  redirect.pattern = policies.pattern_of(pattern)
  policy.redirects = policy.redirects or policies.new_choices()
  policies.add_choice(policy.redirects, redirect, redirect.pattern)
end

policies.readers.change = function(policy)
  policy.changes = policy.changes or {}
  table.insert(policy.changes, { patterns = {}, request = {}, response = {} })
end

policies.readers.path = function(policy, pattern)
  table.insert(policy.changes[#policy.changes].patterns, policies.pattern_of(pattern))
end

local function reader_of(direction)
  return function(policy, action, field)
    local name, value = field:match("^([^=]+)=?(.*)$")
    local change = { method = action, name = name, value = policies.unescaped(value) }
    table.insert(policy.changes[#policy.changes][direction], change)
  end
end

policies.readers.request = reader_of("request")
policies.readers.response = reader_of("response")

policies.readers.cors = function(policy, name, value)
  policy.cors = policy.cors or { origins = {} }
  if name == "origin" then
    policy.cors.origins[policies.unescaped(value)] = true
  else
    policy.cors[name] = policies.unescaped(value)
  end
end

policies.readers.error = function(policy, page, path)
  local status, ttl = page:match("^(%d+)|(.*)$")
  policy.errors = policy.errors or {}
  table.insert(policy.errors, { status = status, ttl = ttl, path = path })
end

local function sorted(set)
  local names = {}
  for name in pairs(set) do
    names[#names + 1] = name
  end
  table.sort(names)
  return #names > 0 and table.concat(names, "+") or nil
end

-- The entries and paths of the pages, by status, for cache.vcl; and the fields of their cache keys,
-- nil if there are none. The entries have no options of keys, which HAProxy obeys.
local function pages_of(policy)
  local found, fields = { "-" }, {}
  for _, page in ipairs(policy.errors) do
    local asked = policies.asked_of(page.path, "")
    local own = policies.first_match(policy.ttls, asked) or "|cached"
    local ttl = page.ttl ~= "" and page.ttl .. "|cached" or own
    local origin = policy.origins[policies.first_match(policy.routes, asked) or 1]
    local names = (own:match("^[^|]*") .. "/"):match("/h([^/]*)/")
    for name in (names or ""):gmatch("[^+]+") do
      fields[name] = true
    end
    ttl = ttl:gsub("/[qhc][^/|]*", "")
    found[#found + 1] = page.status .. "=" .. origin .. "|" .. ttl .. ";" .. page.path
  end
  return table.concat(found, " "), sorted(fields)
end

-- The texts of the wildcards. The text is known to match the parts of a glob.
local function add_captures(found, parts, text)
  local position = #parts[1] + 1
  for index = 2, #parts - 1 do
    local start, stop = text:find(parts[index], position, true)
    found[#found + 1] = text:sub(position, start - 1)
    position = stop + 1
  end
  if #parts > 1 then
    found[#found + 1] = text:sub(position, #text - #parts[#parts])
  end
end

local function captures_of(pattern, request)
  local found = {}
  for _, path in ipairs({ request.path, table.unpack(request.others or {}) }) do
    if policies.glob_matches(pattern.path, path) then
      add_captures(found, pattern.path, path)
      break
    end
  end
  if pattern.query then
    add_captures(found, pattern.query, request.query)
  end
  return found
end

-- Captures can't change the host, end the query or begin a fragment.
local function location_of(redirect, request, target)
  local captures = captures_of(redirect.pattern, request)
  local function filled(text, kept)
    return (text:gsub("%$([1-9])", function(number)
      return quoted(captures[tonumber(number)] or "", kept)
    end))
  end
  local path, query, fragment = redirect.location:match("^([^?#]*)(%??[^#]*)(.*)$")
  path = filled(path, "%w/._~!$'()*+,;=:@&-"):gsub("^//+", "/")
  query = filled(query, "%w/._~!'()*,:@-")
  if query == "" and not redirect.pattern.query then
    query = quoted(target:match("%?.*$") or "", "!-~")
  end
  return path .. query .. filled(fragment, "%w/._~-")
end

local function answer(txn, status, fields)
  txn:done(txn:reply({ status = status, headers = fields }))
end

local function set_origin(fields, cors, origin)
  if not cors.origins["*"] then
    fields["vary"] = "Origin"
  end
  if cors.origins["*"] or cors.origins[origin or ""] then
    fields["access-control-allow-origin"] = cors.origins["*"] and "*" or origin
    fields["access-control-allow-credentials"] = cors.credentials
    return true
  end
  return false
end

-- Fetch Standard, section 3.2.3.
local function is_preflight(txn)
  return txn.f:method() == "OPTIONS" and txn.f:req_fhdr("origin") ~= nil
    and txn.f:req_fhdr("access-control-request-method") ~= nil
end

local function answer_preflight(txn, cors)
  local fields = {}
  local is_allowed = set_origin(fields, cors, txn.f:req_fhdr("origin"))
  if is_allowed then
    fields["access-control-allow-methods"] = cors.methods
    fields["access-control-allow-headers"] = cors.headers
    fields["access-control-max-age"] = cors.age
  end
  for name, value in pairs(fields) do
    fields[name] = { value }
  end
  answer(txn, is_allowed and 204 or 403, fields)
end

local function applies(change, request)
  for _, pattern in ipairs(change.patterns) do
    if policies.matches(pattern, request) then
      return true
    end
  end
  return #change.patterns == 0
end

local function apply(http, prefix, changes)
  for _, change in ipairs(changes) do
    local method = http[prefix .. change.method .. "_header"]
    if change.method == "del" then
      method(http, change.name)
    else
      method(http, change.name, change.value)
    end
  end
end

-- Answers, or changes the request and remembers what to change in the response.
core.register_action("finish", { "http-req" }, function(txn)
  local digest = txn:get_var("txn.policy"):match("^@(%x+)")
  local policy = policies.policy_of(txn:get_var("txn.service"), digest)
  local request = policies.asked_of(txn.f:pathq():match("^([^?]*)(.*)$"))
  if policy.cors and is_preflight(txn) then
    return answer_preflight(txn, policy.cors)
  end
  local redirect = policy.redirects and policies.first_match(policy.redirects, request)
  if redirect then
    local location = location_of(redirect, request, txn.f:pathq())
    if #location > LONGEST_LOCATION then
      return answer(txn, 414, {})
    end
    return answer(txn, redirect.status, { location = { location } })
  end
  if policy.errors and (txn.f:method() == "GET" or txn.f:method() == "HEAD") then
    local pages, fields = pages_of(policy)
    txn.http:req_set_header("x-p-errors", pages)
    if fields then
      txn:set_var("txn.page_fields", fields)
    end
  end
  local later = { changes = {}, cors = policy.cors, origin = txn.f:req_fhdr("origin") }
  for _, change in ipairs(policy.changes or {}) do
    if applies(change, request) then
      apply(txn.http, "req_", change.request)
      table.insert(later.changes, change.response)
    end
  end
  if later.cors or #later.changes > 0 then
    txn:set_priv(later)
    txn:set_var("txn.changes", true)
  end
end, 0)

core.register_action("change", { "http-res" }, function(txn)
  local later = txn:get_priv()
  for _, changes in ipairs(later.changes) do
    apply(txn.http, "res_", changes)
  end
  if later.cors then
    for _, name in ipairs(CORS_FIELDS) do
      txn.http:res_del_header("access-control-" .. name)
    end
    local fields = {}
    if set_origin(fields, later.cors, later.origin) then
      fields["access-control-expose-headers"] = later.cors.expose
    end
    for name, value in pairs(fields) do
      local method = name == "vary" and "res_add_header" or "res_set_header"
      txn.http[method](txn.http, name, value)
    end
  end
end, 0)
