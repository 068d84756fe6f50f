-- SPDX-License-Identifier: Apache-2.0
-- Functions of several scripts. HAProxy loads this file before them, once for each side of a node.

local MOST_FILES = 20000 -- Of a thread and a reader. If there are more, all are read again.

local function unescaped(text)
  return (text:gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

-- A function that returns the content of a service's file, which is read once for each digest.
local function reader_of(directory, longest, parsed)
  local cache, cached = {}, 0
  return function(service, digest)
    local found = cache[service]
    if not found or found.digest ~= digest then
      if not found then
        if cached >= MOST_FILES then
          cache, cached = {}, 0
        end
        cached = cached + 1
      end
      local file = assert(io.open(directory .. "/" .. service .. "-" .. digest, "r"))
      local text = file:read(longest) or ""
      file:close()
      found = { digest = digest, content = parsed(text) }
      cache[service] = found
    end
    return found.content
  end
end

poppy_common = { reader_of = reader_of, unescaped = unescaped }
