-- SPDX-License-Identifier: Apache-2.0
-- The policies of services that have rules: they choose origin and TTL by path, and refuse
-- clients. A policy is a file of lines (poppy.edge.plane.policies). It is read once for each
-- thread and digest.

local directory = os.getenv("POPPY_POLICIES") -- HAProxy 2.6 passes no arguments to a script.
local LONGEST_FILE = 8 * 1024 * 1024
local NONE = {}

local find, unescaped = string.find, poppy_common.unescaped

local function decoded(text)
  if not find(text, "%", 1, true) and not find(text, "//", 1, true) then
    return text
  end
  return (unescaped(text):gsub("/+", "/"))
end

-- A glob as the texts between its stars.
local function parts_of(glob)
  local parts = {}
  for part in (glob .. "*"):gmatch("([^*]*)%*") do
    parts[#parts + 1] = decoded(part)
  end
  return parts
end

-- Without substrings, for which Lua would allocate memory.
local function glob_matches(parts, text)
  local first, last = parts[1], parts[#parts]
  if #parts == 1 then
    return text == first
  end
  if find(text, first, 1, true) ~= 1 then
    return false
  end
  local position = #first + 1
  for index = 2, #parts - 1 do
    local _, stop = find(text, parts[index], position, true)
    if not stop then
      return false
    end
    position = stop + 1
  end
  local tail = #text - #last + 1
  return tail >= position and find(text, last, tail, true) ~= nil
end

-- With one star, one call of a function in C is faster than the comparison of parts.
local function expression_of(parts)
  if #parts == 2 then
    local first, last = parts[1]:gsub("%p", "%%%0"), parts[2]:gsub("%p", "%%%0")
    return last == "" and "^" .. first or "^" .. first .. ".*" .. last .. "$"
  end
end

local function pattern_of(text)
  local path, query = text:match("^([^?]*)%??(.*)$")
  local parts = parts_of(path)
  if find(text, "?", 1, true) then
    return { path = parts, query = parts_of(query) }
  end
  return { path = parts, expression = expression_of(parts) }
end

-- The path as origins may read it besides asked.path: without the parameters of segments, and
-- without those that are recognized after decoding. Nil without parameters.
local function others_of(raw, path)
  if find(path, ";", 1, true) then
    return { decoded((raw:gsub(";[^/]*", ""))), decoded((path:gsub(";[^/]*", ""))) }
  end
end

local function matches(pattern, asked)
  if pattern.expression and not asked.others then
    return find(asked.path, pattern.expression) ~= nil
  end
  if pattern.query and not (asked.query and glob_matches(pattern.query, asked.query)) then
    return false
  end
  if glob_matches(pattern.path, asked.path) then
    return true
  end
  for _, path in ipairs(asked.others or NONE) do
    if glob_matches(pattern.path, path) then
      return true
    end
  end
  return false
end

local BITS = {}
for digit = 0, 15 do
  local bits = ""
  for place = 3, 0, -1 do
    bits = bits .. ((digit >> place) & 1)
  end
  BITS[("%X"):format(digit)] = bits
end

-- The bits of an address, after "4" or "6".
local function bits_of(hex)
  local address = hex:match("^" .. ("0"):rep(20) .. "FFFF(%x%x%x%x%x%x%x%x)$") or hex
  return (#address == 8 and "4" or "6") .. address:gsub("%x", BITS)
end

-- The host of a URL; nil if the text is not clear.
local function host_of(url)
  local authority = url:lower():match("^https?://([^/?#]*)")
  if not authority or authority:find("\\", 1, true) then
    return nil
  end
  local host = authority:gsub("^[^@]*@", "", 1):gsub(":%d*$", "")
  return host:match("^([^@:]-)%.?$")
end

-- What is known of a client are its address in hexadecimal digits, country and referrer.
local is_meant = {
  client_ip = function(values, client)
    local bits = bits_of(client:match("^%x*"))
    for length in pairs(values.lengths) do
      if values.set[bits:sub(1, length)] then
        return true
      end
    end
    return false
  end,
  referrer = function(values, client)
    local host = host_of(client:match("^%x* %S* (.*)$"))
    while host do
      if values.set[host] then
        return true
      end
      host = host:match("^[^.]+%.(.+)$")
    end
    return false
  end,
  geography = function(values, client)
    return values.set[client:match("^%x* (%S*)")] or false
  end,
}

local function is_refused(access, asked)
  local concerned = false
  for number = 1, #access do
    local rule = access[number]
    if matches(rule.pattern, asked) then
      concerned = true
      if is_meant[access.kind](rule.values, asked.client) then
        return access.list == "blacklist"
      end
    end
  end
  return concerned and access.list == "whitelist"
end

local function new_choices()
  return { exact = {}, compared = {} }
end

local function add_choice(choices, value, pattern)
  local number = #choices + 1
  choices[number] = { value = value, pattern = pattern }
  if #pattern.path > 1 or pattern.query then
    table.insert(choices.compared, number)
  elseif not choices.exact[pattern.path[1]] then
    choices.exact[pattern.path[1]] = number
  end
end

local readers = {
  origin = function(policy, value)
    policy.origins[#policy.origins + 1] = value
  end,
  route = function(policy, number, pattern)
    add_choice(policy.routes, tonumber(number) + 1, pattern_of(pattern))
  end,
  ttl = function(policy, seconds, pattern)
    add_choice(policy.ttls, seconds, pattern_of(pattern))
  end,
  access = function(policy, list, kind)
    table.insert(policy.restrictions, { list = list, kind = kind })
  end,
  clients = function(policy, pattern)
    local values = { set = {}, lengths = {} }
    policy.values = values
    table.insert(policy.restrictions[#policy.restrictions],
      { pattern = pattern_of(pattern), values = values })
  end,
  value = function(policy, value)
    policy.values.set[value] = true
    policy.values.lengths[#value] = true
  end,
}

local policy_of = poppy_common.reader_of(directory, LONGEST_FILE, function(text)
  local policy = {
    origins = {}, routes = new_choices(), ttls = new_choices(), restrictions = {},
  }
  for line in text:gmatch("[^\n]+") do
    local kind, first, second = line:match("^(%S+) (%S+) ?(%S*)$")
    readers[kind](policy, first, second)
  end
  return policy
end)

-- The value of the first choice that matches. Only those with a wildcard or a query are compared.
local function first_match(choices, asked)
  local first = choices.exact[asked.path] or #choices + 1
  for _, path in ipairs(asked.others or NONE) do
    first = math.min(first, choices.exact[path] or first)
  end
  for index = 1, #choices.compared do
    local number = choices.compared[index]
    if number > first then
      break
    end
    if matches(choices[number].pattern, asked) then
      first = number
    end
  end
  return choices[first] and choices[first].value
end

-- The query with the parameters that the cache key has; see poppy.edge.plane.lifetimes.
core.register_converters("keyed_query", function(text)
  local rule, list, query = text:match("^%S*/q([neo])([^/ ]*)%S* (.*)$")
  local listed, prefixes = {}, {}
  for name in list:gmatch("[^+]+") do
    if name:sub(-1) == "*" then
      prefixes[#prefixes + 1] = name:sub(1, -2)
    else
      listed[name] = true
    end
  end
  local kept = {}
  for pair in query:gmatch("[^&]+") do
    local name = decoded(pair:match("^[^=]*"))
    local found = listed[name] or false
    for _, prefix in ipairs(prefixes) do
      found = found or find(name, prefix, 1, true) == 1
    end
    if found == (rule == "o") and rule ~= "n" then
      kept[#kept + 1] = pair
    end
  end
  return #kept > 0 and "?" .. table.concat(kept, "&") or ""
end)
local function asked_of(path, query, client)
  if path == "" then
    path = "/" -- "OPTIONS *" has no path.
  end
  local plain = decoded(path)
  return {
    path = plain,
    others = others_of(path, plain),
    query = query ~= "" and decoded(query:sub(2)),
    client = client,
  }
end

-- In linear time: "(.-)%s*$" would try each space of a long run again and again.
local function trimmed(text)
  return text:match(".*%S", (text:match("^%s*()"))) or ""
end

-- For the scripts that are loaded after this one.
poppy_policies = {
  add_choice = add_choice, asked_of = asked_of, decoded = decoded, first_match = first_match,
  glob_matches = glob_matches, matches = matches, new_choices = new_choices,
  pattern_of = pattern_of, policy_of = policy_of, readers = readers, trimmed = trimmed,
  unescaped = unescaped,
}

-- The entry for a request, or "refused". If this fails, the variable with the policy keeps it, and
-- the request is answered with an error. A converter is cheaper than an action, for which HAProxy
-- makes a dozen tables.
core.register_converters("decide", function(text)
  local service, digest, path, query, client = text:match("^(%S+) @(%x+)%S* ([^ ?]*)(%S*) (.*)$")
  local policy = policy_of(service, digest)
  local asked = asked_of(path, query, client)
  for number = 1, #policy.restrictions do
    if is_refused(policy.restrictions[number], asked) then
      return "refused"
    end
  end
  local route = #policy.routes > 0 and first_match(policy.routes, asked) or 1
  local ttl = #policy.ttls > 0 and first_match(policy.ttls, asked) or "|cached"
  return policy.origins[route] .. "|" .. ttl
end)
