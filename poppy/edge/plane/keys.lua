-- SPDX-License-Identifier: Apache-2.0
-- The header fields and cookies of cache keys (poppy.edge.plane.cache_key). The names are in the
-- entry of the request; see poppy.edge.plane.lifetimes.

local policies = poppy_policies

local function names_of(list)
  local names = {}
  for name in (list or ""):gmatch("[^+]+") do
    names[#names + 1] = policies.unescaped(name)
  end
  return names
end

-- A list in the fourth part of an entry; nil if there is none.
local function listed(entry, letter)
  local life = entry:match("^[^|]*|[^|]*|[^|]*|([^|]*)")
  return (life .. "/"):match("/" .. letter .. "([^/]*)/")
end

-- CGI programs read "_" and "-" as the same, so the key has both.
local function plain(name)
  return (name:gsub("_", "-"))
end

-- Each field has its length in front, so that no value can look like two.
local function add_fields(parts, fields, names)
  local spellings = {}
  for name in pairs(fields) do
    local key = plain(name)
    spellings[key] = spellings[key] or {}
    table.insert(spellings[key], name)
  end
  for _, wanted in ipairs(names) do
    local found = spellings[plain(wanted)] or {}
    table.sort(found)
    for _, name in ipairs(found) do
      for index = 0, #fields[name] do
        local field = name .. ":" .. fields[name][index]
        parts[#parts + 1] = #field .. ":" .. field
      end
    end
  end
end

-- The listed cookies, in the order of the list; those of one name in the order of the request.
local function cookies_of(fields, names)
  local found = {}
  for index = 0, #(fields.cookie or {}) do
    for pair in ((fields.cookie or {})[index] or ""):gmatch("[^;]+") do
      local cut = pair:find("=", 1, true)
      if cut then
        local name = policies.trimmed(pair:sub(1, cut - 1))
        found[name] = found[name] or {}
        table.insert(found[name], name .. "=" .. policies.trimmed(pair:sub(cut + 1)))
      end
    end
  end
  local kept = {}
  for _, name in ipairs(names) do
    table.move(found[name] or {}, 1, #(found[name] or {}), #kept + 1, kept)
  end
  return table.concat(kept, "; ")
end

-- Sets the variable with the values, and leaves only listed cookies in the request.
core.register_action("key", { "http-req" }, function(txn)
  local entry = txn:get_var("txn.entry")
  local fields, parts = txn.http:req_get_headers(), {}
  add_fields(parts, fields, names_of(listed(entry, "h")))
  local cookies = listed(entry, "c")
  if cookies then
    local text = cookies_of(fields, names_of(cookies))
    if text == "" then
      txn.http:req_del_header("cookie")
    else
      txn.http:req_set_header("cookie", text)
    end
    parts[#parts + 1] = ";" .. text
  end
  txn:set_var("txn.key", "." .. table.concat(parts))
end, 0)

-- The same for the pages of errors, which are fetched without cookies.
core.register_action("page_key", { "http-req" }, function(txn)
  local parts = {}
  add_fields(parts, txn.http:req_get_headers(), names_of(txn:get_var("txn.page_fields")))
  txn:set_var("txn.page_key", "." .. table.concat(parts))
end, 0)
