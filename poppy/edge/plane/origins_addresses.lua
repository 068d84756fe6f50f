-- SPDX-License-Identifier: Apache-2.0
-- TLS to addresses. HAProxy verifies the chain of a certificate but compares only names with it. So
-- this filter over TCP holds a request back until the address is found in the certificate (RFC
-- 9525, section 6.5: an iPAddress of the subjectAltName; RFC 5280, section 4.2.1.6).

local SEQUENCE, OCTETS, EXTENSIONS, ADDRESS = 0x30, 0x04, 0xa3, 0x87
local ALTERNATIVES = "\x06\x03\x55\x1d\x11" -- The OID 2.5.29.17.

-- The tag, first byte and last byte of a value in DER (X.690, section 8.1).
local function value_at(der, at)
  local tag, length = der:byte(at, at + 1)
  local first = at + 2
  if length >= 0x80 then
    local bytes = length - 0x80
    assert(bytes >= 1 and bytes <= 3, "a length of DER")
    length = string.unpack(">I" .. bytes, der, first)
    first = first + bytes
  end
  assert(first + length - 1 <= #der, "the end of DER")
  return tag, first, first + length - 1
end

-- The content of each value with a tag inside a value.
local function inside(der, tag)
  local found, at = {}, 1
  while at <= #der do
    local kind, first, last = value_at(der, at)
    if kind == tag then
      found[#found + 1] = der:sub(first, last)
    end
    at = last + 1
  end
  return found
end

-- Whether a certificate has an address, in hexadecimal digits.
local function has_address(der, wanted)
  local body = inside(inside(der, SEQUENCE)[1], SEQUENCE)[1]
  local extensions = inside(body, EXTENSIONS)[1] or ""
  for _, extension in ipairs(inside(inside(extensions, SEQUENCE)[1] or "", SEQUENCE)) do
    if extension:sub(1, #ALTERNATIVES) == ALTERNATIVES then
      local names = inside(inside(extension, OCTETS)[1], SEQUENCE)[1]
      for _, address in ipairs(inside(names, ADDRESS)) do
        local hex = address:gsub(".", function(byte)
          return ("%02X"):format(byte:byte())
        end)
        if hex == wanted then
          return true
        end
      end
    end
  end
  return false
end

local Verified = {}
Verified.__index = Verified

function Verified:new()
  return setmetatable({}, Verified)
end

function Verified:start_analyze(_, channel)
  if not channel:is_resp() then
    filter.register_data_filter(self, channel)
  end
end

function Verified:tcp_payload(txn, channel)
  local der = txn.f:ssl_s_der()
  if not der or der == "" then
    return 0
  end
  local wanted = txn:get_var("txn.p_wanted")
  if not has_address(der, wanted) then
    error("the certificate does not have the address " .. wanted)
  end
  filter.unregister_data_filter(self, channel)
  return channel:input()
end

core.register_filter("verified", Verified, function(verified)
  return verified
end)
