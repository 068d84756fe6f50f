-- SPDX-License-Identifier: Apache-2.0
-- The options of origins, which are in files (poppy.edge.plane.origins_options): path, timeouts,
-- backup, secret header and signatures. A file is read once for each thread and digest.

local origins = poppy_origins -- Of origins.lua, which is loaded before.
local directory, sick = origins.settings.policies, Map.new(origins.settings.sick, Map._str)
local LONGEST_FILE = 1024 * 1024
local EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" -- SHA-256 of "".

local unescaped = poppy_common.unescaped

local function escaped(text, kept)
  return (text:gsub("[^%w._~" .. kept .. "-]", function(character)
    return ("%%%02X"):format(character:byte())
  end))
end

local readers = {
  entry = function(origin, value)
    origin.entry = value
  end,
  path = function(origin, value)
    origin.path = value
  end,
  connect = function(origin, value)
    origin.connect = tonumber(value)
  end,
  response = function(origin, value)
    origin.response = tonumber(value)
  end,
  name = function(origin, value)
    origin.name = value
  end,
  backup = function(origin, value)
    local number, statuses = value:match("^(%d+) (.+)$")
    origin.backup, origin.statuses = tonumber(number), statuses
  end,
  header = function(origin, value)
    local name, secret = value:match("^(%S+) (%S+)$")
    origin.header = { name = name, value = unescaped(secret) }
  end,
  s3 = function(origin, value)
    local region, bucket, key, secret = value:match("^(%S+) (%S+) (%S+) (%S+)$")
    origin.s3 = { region = region, bucket = bucket, key = key, secret = unescaped(secret) }
  end,
}

local options_of = poppy_common.reader_of(directory, LONGEST_FILE, function(text)
  local found, origin = {}, nil
  for line in text:gmatch("[^\n]+") do
    local kind, value = line:match("^(%S+) (.*)$")
    if kind == "origin" then
      origin = { number = tonumber(value) }
      found[origin.number] = origin
    else
      readers[kind](origin, value)
    end
  end
  return found
end)

local function is_sick(service, origin)
  return sick:lookup(service .. "/" .. origin.number) ~= nil
end

-- Whether an address of an origin accepts connections.
local function is_reachable(origin)
  local host, port = origin.entry:match("^%[?(.-)%]?:(%d+)|")
  local addresses = origins.addresses_of(host)
  return origins.choose(addresses, port, false, origin.connect) ~= nil
end

-- The origin for a request, and whether the response decides if its backup stands in.
local function chosen(txn, service, all, number)
  local origin = all[number]
  local spare = all[origin.backup]
  local turn = txn:get_var("txn.p_turn")
  if not spare or turn == "check" then
    return origin, false
  elseif turn == "second" then
    return spare, false
  elseif turn == "first" then
    txn:set_var("txn.p_statuses", origin.statuses)
    return origin, false
  elseif is_sick(service, spare) then
    return origin, false
  elseif is_sick(service, origin) then
    return spare, false
  elseif txn:get_var("txn.p_pooled") then
    return origin, true
  end
  -- As nothing has been sent, any method may go to the backup.
  return is_reachable(origin) and origin or spare, false
end

core.register_action("origin_options", { "http-req" }, function(txn)
  local entry, service = txn:get_var("txn.p_entry"), txn.f:req_fhdr("x-p-service")
  local digest, number = entry:match("^[^|]*|[^|/]*/(%x+)%.(%d+)")
  local all = options_of(service, digest)
  local origin, has_turns = chosen(txn, service, all, tonumber(number))
  txn:set_var("txn.p_options", service .. " " .. digest .. " " .. origin.number)
  if has_turns then
    return txn:set_var("txn.p_has_turns", true)
  end
  txn:set_var("txn.p_entry", origin.entry .. entry:match("^[^|]*|[^|]*|[^|;]*(.*)$"))
  if origin.name then
    txn:set_var("txn.p_name", origin.name)
  end
  if origin.connect then
    txn:set_var("txn.p_connect", origin.connect)
  end
  if origin.response then
    txn:set_var("txn.p_response", origin.response * 1000)
  end
end, 0)

-- Whether a backup stands in for a status: "503 500,503" is "yes".
core.register_converters("is_listed", function(text)
  local status, statuses = text:match("^(%d+) (.*)$")
  return ("," .. statuses .. ","):find("," .. status .. ",", 1, true) and "yes" or "no"
end)

-- AWS Signature Version 4

local function hex(text)
  return (text:gsub(".", function(character)
    return ("%02x"):format(character:byte())
  end))
end

local function hmac(txn, key, text)
  return txn.c:hmac(text, "sha256", txn.c:base64(key))
end

-- The path as it is signed and sent: percent-encoded once, in the one way that AWS does it.
function origins.canonical(path)
  return escaped(unescaped(path), "/")
end

-- The value of the field Authorization for a request without body and query. The names of the
-- header fields are in lower case and sorted.
function origins.signature(txn, s3, request)
  local names, lines = {}, {}
  for _, field in ipairs(request.fields) do
    names[#names + 1] = field[1]
    lines[#lines + 1] = field[1] .. ":" .. field[2] .. "\n"
  end
  local signed = table.concat(names, ";")
  local canonical = table.concat({
    request.method, request.path, "", table.concat(lines), signed, EMPTY,
  }, "\n")
  local day = request.time:sub(1, 8)
  local scope = table.concat({ day, s3.region, request.service, "aws4_request" }, "/")
  local text = table.concat({
    "AWS4-HMAC-SHA256", request.time, scope, hex(txn.c:sha2(canonical, 256)),
  }, "\n")
  local key = "AWS4" .. s3.secret
  for _, part in ipairs({ day, s3.region, request.service, "aws4_request" }) do
    key = hmac(txn, key, part)
  end
  return ("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s"):format(
    s3.key, scope, signed, hex(hmac(txn, key, text)))
end

-- Sign a GET or HEAD. Others would let every client write, a query would let it list the bucket.
local function sign(txn, s3, prefix)
  local method, host = txn.f:method(), txn.f:req_fhdr("host")
  local path = prefix .. txn.f:path()
  if host:sub(1, #s3.bucket + 1) ~= s3.bucket .. "." then
    path = "/" .. s3.bucket .. path
    if path == "/" .. s3.bucket .. "/" then
      return "404"
    end
  elseif path == "/" then
    return "404"
  end
  for name in pairs(txn.http:req_get_headers()) do
    if name:find("^x[-_]amz[-_]") then
      txn.http:req_del_header(name)
    end
  end
  txn.http:req_del_header("authorization")
  path = origins.canonical(path)
  txn.http:req_set_uri(path)
  if method == "OPTIONS" then
    return nil
  elseif method ~= "GET" and method ~= "HEAD" then
    return "405"
  end
  local time = os.date("!%Y%m%dT%H%M%SZ", core.now().sec)
  txn.http:req_set_header("x-amz-date", time)
  txn.http:req_set_header("x-amz-content-sha256", EMPTY)
  txn.http:req_set_header("authorization", origins.signature(txn, s3, {
    method = method, path = path, time = time, service = "s3",
    fields = {
      { "host", host }, { "x-amz-content-sha256", EMPTY }, { "x-amz-date", time },
    },
  }))
  return nil
end

-- Set the secret header. CGI programs can't tell other spellings of its name apart.
local function set_header(txn, header)
  local wanted = header.name:lower():gsub("_", "-")
  for name in pairs(txn.http:req_get_headers()) do
    if name:gsub("_", "-") == wanted then
      txn.http:req_del_header(name)
    end
  end
  txn.http:req_set_header(header.name, header.value)
end

-- Change a request after our own fields were removed from it.
core.register_action("origin_request", { "http-req" }, function(txn)
  local service, digest, number = txn:get_var("txn.p_options"):match("^(%S+) (%x+) (%d+)$")
  local origin = options_of(service, digest)[tonumber(number)]
  local prefix = txn:get_var("txn.p_turn") ~= "check" and origin.path or ""
  if origin.header then
    set_header(txn, origin.header)
  end
  if origin.s3 then
    local status = sign(txn, origin.s3, prefix)
    if status then
      txn:set_var("txn.p_status", status)
      txn:set_var("txn.p_problem", "S3: no object is asked for")
    end
  elseif prefix ~= "" and txn.f:path():sub(1, 1) == "/" then
    txn.http:req_set_uri(prefix .. txn.f:pathq())
  end
  txn:set_var("txn.p_changed", true)
end, 0)
