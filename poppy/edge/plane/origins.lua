-- SPDX-License-Identifier: Apache-2.0
-- The action that chooses the address for a request to an origin, and a filter that drops interim
-- responses. HAProxy loads this file once for each thread.
--
-- HAProxy's own do-resolve takes the same one of several addresses each time, even if it is dead.
-- So the action asks the name servers itself, over TCP (RFC 7766), and tries to connect before
-- the request is sent. As nothing has been sent, any method may go to another address.

local settings = {} -- HAProxy 2.6 passes no arguments to a script.
for name, value in os.getenv("POPPY_ORIGINS"):gmatch("(%l+)=([^;]*)") do
    settings[name] = value
end
poppy_origins = { settings = settings } -- For origins_options.lua.

local HOLD = 1 -- Seconds that an answer of DNS, or of an address that accepts connections, counts.
local STALE = 86400 -- Seconds that an answer of DNS counts if the name servers fail (RFC 8767).
local DEAD = 10 -- Seconds to avoid an address after its first failure; doubled at each further one.
local MOST_DEAD = 300
local MOST_ADDRESSES = 8 -- Of one name and family.
local MOST_TRIES = 3 -- Connections for one request.
local MOST_ENTRIES = 20000 -- Of each table below.

local A, AAAA, NXDOMAIN = 1, 28, 3

local function each(text, make)
    local found = {}
    for word in text:gmatch("[^,]+") do
        found[#found + 1] = assert(make(word), word)
    end
    return found
end

local servers = each(settings.servers, tostring)
local timeout = tonumber(settings.timeout)
local refused = each(settings.refused, core.parse_addr)
local allowed = each(settings.allowed, core.parse_addr)
local special = each(settings.special, core.parse_addr)

local function table_of(make)
    local entries, count = {}, 0
    return function(key)
        local entry = entries[key]
        if entry == nil then
            if count == MOST_ENTRIES then
                entries, count = {}, 0
            end
            entry = make()
            entries[key], count = entry, count + 1
        end
        return entry
    end
end

local name_of = table_of(function()
    return { addresses = {}, expires = 0, stale = 0, problem = nil }
end)
local target_of = table_of(function()
    return { alive = 0, dead = 0, wait = DEAD }
end)

local function now()
    local time = core.now()
    return time.sec + time.usec / 1e6
end

local function within(address, networks)
    for _, network in ipairs(networks) do
        if core.match_addr(address, network) then
            return true
        end
    end
    return false
end

local function is_fine(text)
    local address = core.parse_addr(text)
    return not within(address, refused)
        and (within(address, allowed) or not within(address, special))
end

-- Messages of DNS (RFC 1035, section 4)

local function query(id, host, kind)
    local labels = {}
    for label in host:gmatch("[^.]+") do
        labels[#labels + 1] = string.pack("s1", label)
    end
    local header = string.pack(">I2I2I2I2I2I2", id, 0x0100, 1, 0, 0, 0)
    local question = table.concat(labels) .. "\0" .. string.pack(">I2I2", kind, 1)
    return string.pack(">s2", header .. question)
end

local function after_name(message, at)
    local length = message:byte(at)
    while length > 0 and length < 192 do
        at = at + 1 + length
        length = message:byte(at)
    end
    return at + (length == 0 and 1 or 2)
end

local FORMATS = {
    [A] = { ">BBBB", "%d.%d.%d.%d" },
    [AAAA] = { ">I2I2I2I2I2I2I2I2", "%x:%x:%x:%x:%x:%x:%x:%x" },
}

-- Return the ID, the RCODE and the addresses of an answer, whatever the names in a chain of CNAMEs.
local function parse(message)
    local id, flags, questions, answers = string.unpack(">I2I2I2I2", message)
    local at, found = 13, {}
    for _ = 1, questions do
        at = after_name(message, at) + 4
    end
    for _ = 1, answers do
        local kind, _, _, size, data = string.unpack(">I2I2I4I2", message, after_name(message, at))
        local form = FORMATS[kind]
        if form and #found < MOST_ADDRESSES then
            local parts = table.pack(string.unpack(form[1], message, data))
            found[#found + 1] = form[2]:format(table.unpack(parts, 1, parts.n - 1))
        end
        at = data + size
    end
    return id, flags & 15, found
end

-- Ask a name server for all addresses of a name. Return them, IPv4 first, or nil and the problem.
local function ask(server, host)
    local socket = core.tcp()
    socket:settimeout(timeout)
    local connected, problem = socket:connect(server)
    if not connected then
        return nil, problem or "no connection"
    end
    local id = math.random(0, 0xfffe)
    socket:send(query(id, host, A) .. query(id + 1, host, AAAA))
    local families = {}
    for _ = 1, 2 do
        local size = socket:receive(2)
        local message = size and socket:receive((string.unpack(">I2", size)))
        if not message then
            problem = "no answer"
            break
        end
        local sound, number, code, found = pcall(parse, message)
        if not sound or (number ~= id and number ~= id + 1) then
            problem = "a malformed answer"
            break
        end
        if code == 0 or code == NXDOMAIN then
            families[number - id] = found
        else
            problem = "RCODE " .. code
        end
    end
    socket:close()
    local addresses = families[0] or {}
    for _, address in ipairs(families[1] or {}) do
        addresses[#addresses + 1] = address
    end
    if #addresses == 0 and problem then
        return nil, problem
    end
    return addresses
end

-- Update the entry of a name.
local function resolve(name, host)
    local found, problem
    if #name.addresses > 0 then
        name.expires = now() + timeout -- Other requests use the previous answer until then.
    end
    for _ = 1, #servers do
        local server = servers[1]
        found, problem = ask(server, host)
        if found then
            break
        end
        core.Warning(("origin: name server %s, asked for %s: %s"):format(server, host, problem))
        if servers[1] == server then
            table.insert(servers, table.remove(servers, 1))
        end
    end
    local time = now()
    name.expires = time + HOLD
    if not found then
        if time > name.stale then
            name.addresses, name.problem = {}, "DNS failed: " .. problem
        end
        return
    end
    name.addresses, name.stale = {}, time + STALE
    name.problem = #found == 0 and "the name has no address" or nil
    for _, address in ipairs(found) do
        if is_fine(address) then
            name.addresses[#name.addresses + 1] = address
        else
            name.problem = address .. " is refused"
        end
    end
end

-- Return the allowed addresses of a host, why there is none, and whether the host is an address.
function poppy_origins.addresses_of(host)
    if host:find(":", 1, true) or host:find("^[%d.]+$") then
        if not core.parse_addr(host) then
            return {}, "no address"
        end
        return is_fine(host) and { host } or {}, host .. " is refused", true
    end
    local name = name_of(host)
    if now() >= name.expires then
        resolve(name, host)
    end
    return name.addresses, name.problem
end

-- Try to connect within these seconds, and remember the result.
local function connects(target, address, port, limit)
    local socket = core.tcp()
    socket:settimeout(limit)
    local connected = socket:connect(address, math.tointeger(port))
    socket:close()
    local time = now()
    if connected then
        target.alive, target.dead, target.wait = time + HOLD, 0, DEAD
        return true
    end
    core.Warning(("origin: no connection to %s port %s"):format(address, port))
    target.alive, target.dead = 0, time + target.wait
    target.wait = math.min(2 * target.wait, MOST_DEAD)
    return false
end

-- Return an address that accepts connections, or nil if those that were tried don't.
function poppy_origins.choose(addresses, port, is_idempotent, limit)
    limit = limit or timeout
    local tries, dead = 0, {}
    for _, address in ipairs(addresses) do
        local target, time = target_of(address .. " " .. port), now()
        if target.dead > time then
            dead[#dead + 1] = { address = address, target = target, since = target.dead }
        elseif is_idempotent and target.alive > time then
            return address
        elseif tries < MOST_TRIES then
            tries = tries + 1
            if connects(target, address, port, limit) then
                return address
            end
        end
    end
    -- Of the dead ones, the first to be alive again may be any.
    table.sort(dead, function(one, other)
        return one.since < other.since
    end)
    for number = 1, math.min(#dead, MOST_TRIES - tries) do
        if connects(dead[number].target, dead[number].address, port, limit) then
            return dead[number].address
        end
    end
    return nil
end

core.register_action("origin", { "http-req" }, function(txn)
    local function fail(status, problem)
        txn:set_var("txn.p_status", status)
        txn:set_var("txn.p_problem", problem)
    end
    local host, port = (txn:get_var("txn.p_origin") or ""):match("^%[?(.-)%]?:(%d+)$")
    if not host then
        return fail("502", "no origin")
    end
    local name = txn:get_var("txn.p_name")
    local addresses, problem, is_address = poppy_origins.addresses_of(host)
    if #addresses == 0 then
        return fail("502", problem)
    end
    local address, limit = addresses[1], txn:get_var("txn.p_connect")
    if #addresses > 1 or limit then
        address = poppy_origins.choose(addresses, port, txn:get_var("txn.p_pooled"), limit)
    end
    if not address then
        return fail("503", "no address accepts connections")
    end
    txn:set_var("txn.p_host", name or host)
    txn:set_var("txn.p_by_address", is_address and not name or false)
    txn:set_var("txn.p_port", port)
    txn:set_var("txn.p_address", address)
end, 0)

-- A filter of one response over TCP.
local Final = {}
Final.__index = Final

function Final:new()
    return setmetatable({}, Final)
end

function Final:start_analyze(_, channel)
    if channel:is_resp() then
        filter.register_data_filter(self, channel)
    end
end

-- Drop interim responses (RFC 9110, section 15.2), and return how many bytes to forward.
function Final:tcp_payload(_, channel)
    while true do
        local start = channel:data(0, 12)
        if not start or #start < 12 then
            return 0
        end
        local status = start:match("^HTTP/1%.1 (1%d%d)")
        if not status or status == "101" then
            filter.unregister_data_filter(self, channel)
            return channel:input()
        end
        local _, last = channel:data():find("\r\n\r\n", 1, true)
        if not last then
            return 0
        end
        channel:remove(0, last)
    end
end

core.register_filter("final", Final, function(final)
    return final
end)
