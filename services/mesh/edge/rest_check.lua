-- Refuses REST requests with anything that the contract does not know: the transcoder would drop it and go on.
--
-- Runs in Envoy after the transcoder, where the RPC is known and nobody has to match paths again. Before this text
-- stand MESSAGES and RPCS, made from the contract (rest_check.py). The body is as the client sent it.

local byte, char, find, floor, gsub, sub = string.byte, string.char, string.find, math.floor, string.gsub, string.sub

local DEEPEST = 100  -- as deep as protobuf reads messages
local LONGEST = 120  -- bytes of an offending name that are given back

-- What a field holds. Only message, list and map have `fields` or `item`.
local SCALAR, MESSAGE, LIST, MAP, ANY, OBJECT, ARRAY, BOOL, ENUM = 1, 2, 3, 4, 5, 6, 7, 8, 9
local EXPECTED = {
  "must not be an object or an array", "must be an object", "must be an array", "must be an object", "",
  "must be an object", "must be an array", "must be true or false, without quotes",
  "must be the name of a value, or its number without quotes",
}
local ANYTHING = { kind = ANY }
local WELL_KNOWN = {
  ["*"] = ANYTHING, ["{*}"] = { kind = OBJECT }, ["[*]"] = { kind = ARRAY }, ["?"] = { kind = BOOL },
  ["#"] = { kind = ENUM },
}

-- The fields of a message by both their names, made when first asked for.
local fields_of = setmetatable({}, { __index = function(all, message)
  local fields = {}
  all[message] = fields
  for name, json_name, suffix, kind in MESSAGES[message]:gmatch("([%w_]+)=(%w+)([%[%]{}]*):?([^ ]*)") do
    local item = kind == "" and { kind = SCALAR } or WELL_KNOWN[kind] or { kind = MESSAGE, message = kind }
    local field = { kind = item.kind, message = item.message }
    if suffix ~= "" then
      field = { kind = suffix == "[]" and LIST or MAP, item = item }
    end
    field.name = json_name
    fields[name], fields[json_name] = field, field
  end
  return fields
end })

-- Of the request that is checked now. Nothing here waits, so there is one at a time.
local text  -- the body
local trail = {}  -- names and indices on the way to the value that is looked at
local given  -- what path and query give a value, by dotted path: "path" or "query"
local given_depth  -- how many names the longest of these has

local function path(depth)
  local joined = ""
  for i = 1, depth do
    local step = trail[i]
    if type(step) == "number" then
      joined = joined .. "[" .. step .. "]"
    else
      joined = joined .. (joined == "" and "" or ".") .. step
    end
  end
  return joined
end

local function refuse(where, problem)
  error({ field = type(where) == "number" and path(where) or where, problem = problem }, 0)
end

-- Bytes are read one by one where there may be many: LuaJIT compiles that, and searching for a set of them it does not.

local function skip_space(i)
  local c = byte(text, i)
  while c == 32 or c == 10 or c == 13 or c == 9 do
    i = i + 1
    c = byte(text, i)
  end
  return i
end

-- How many bytes the character at `i` has, which is not ASCII (RFC 3629 §4).
local function width(i, depth)
  local first, second = byte(text, i, i + 1)
  local more, low, high = 0, 128, 191
  if first >= 240 then
    more, low, high = 2, first == 240 and 144 or 128, first == 244 and 143 or 191
  elseif first >= 224 then
    more, low, high = 1, first == 224 and 160 or 128, first == 237 and 159 or 191
  end
  local fine = first >= 194 and first <= 244 and second and second >= low and second <= high
  for j = i + 2, i + 1 + more do
    local c = byte(text, j)
    fine = fine and c and c >= 128 and c <= 191
  end
  return fine and more + 2 or refuse(depth, "a string that is not UTF-8")
end

-- Where the escape at `i` ends (RFC 8259 §7). Surrogates come in pairs or not at all.
local function escape_end(i, depth)
  if find(text, '^["\\/bfnrt]', i + 1) then
    return i + 2
  elseif find(text, "^u[dD][89abAB]%x%x\\u[dD][c-fC-F]%x%x", i + 1) then
    return i + 12
  elseif find(text, "^u%x%x%x%x", i + 1) and not find(text, "^[dD][89a-fA-F]", i + 2) then
    return i + 6
  end
  refuse(depth, "a string with an escape that JSON does not have")
end

-- Where a string that begins at `i` has its end quote, and whether there are escapes in it.
local function string_end(i, depth)
  local escaped = false
  i = i + 1
  while true do
    local c = byte(text, i)
    if c == 34 then
      return i, escaped
    elseif not c then
      refuse(depth, "a string without an end")
    elseif c < 32 then
      refuse(depth, "a string must not hold control characters")
    elseif c == 92 then
      escaped = true
      i = escape_end(i, depth)
    else
      i = i + (c < 128 and 1 or width(i, depth))
    end
  end
end

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function utf8(code)
  if code < 0x80 then
    return char(code)
  elseif code < 0x800 then
    return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40)
  elseif code < 0x10000 then
    return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
  end
  return char(
    0xF0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40, 0x80 + floor(code / 0x40) % 0x40,
    0x80 + code % 0x40
  )
end

-- A string's content without escapes: two names may be one, written in two ways.
local function unescaped(content)
  local parts, i = {}, 1
  while true do
    local j = find(content, "\\", i, true)
    if not j then
      parts[#parts + 1] = sub(content, i)
      return table.concat(parts)
    end
    parts[#parts + 1] = sub(content, i, j - 1)
    local c = sub(content, j + 1, j + 1)
    i = j + 2
    if c == "u" then
      local code = tonumber(sub(content, i, i + 3), 16)
      i = i + 4
      if code >= 0xD800 and code < 0xDC00 then
        code = 0x10000 + (code - 0xD800) * 0x400 + tonumber(sub(content, i + 2, i + 5), 16) - 0xDC00
        i = i + 6
      end
      c = utf8(code)
    end
    parts[#parts + 1] = ESCAPES[c] or c
  end
end

-- Each of these checks what begins at `i`, and answers where it has ended.

local function check_scalar(i, depth)
  if byte(text, i) == 34 then
    return string_end(i, depth) + 1
  end
  local _, last = find(text, "^-?%d+", i)
  if last and not find(text, "^-?0%d", i) then
    local _, fraction = find(text, "^%.%d+", last + 1)
    local _, exponent = find(text, "^[eE][+-]?%d+", (fraction or last) + 1)
    return (exponent or fraction or last) + 1
  end
  _, last = find(text, "^true", i)
  if not last then
    _, last = find(text, "^false", i)
  end
  if not last then
    refuse(depth, "not JSON")
  end
  return last + 1
end

local check_value

local function check_object(i, depth, fields, item)
  local seen = {}
  i = skip_space(i + 1)
  if byte(text, i) == 125 then
    return i + 1
  end
  while true do
    if byte(text, i) ~= 34 then
      refuse(depth - 1, "not JSON: a name in double quotes is expected")
    end
    local last, escaped = string_end(i, depth - 1)
    local name, field = sub(text, i + 1, last - 1), item
    if escaped then
      name = unescaped(name)
    end
    trail[depth] = name
    if fields then
      field = fields[name]
      if not field then
        refuse(depth, "there is no such field")
      end
      name = field.name
      trail[depth] = name
    end
    if seen[name] then
      refuse(depth, "is given twice")
    end
    seen[name] = true
    if depth <= given_depth and given[path(depth)] then
      refuse(depth, "is given by the path or the query already")
    end
    i = skip_space(last + 1)
    if byte(text, i) ~= 58 then
      refuse(depth, "not JSON: a colon is expected")
    end
    i = skip_space(check_value(skip_space(i + 1), depth, field, fields == nil))
    local c = byte(text, i)
    if c == 125 then
      return i + 1
    elseif c ~= 44 then
      refuse(depth, "not JSON: a comma or the end of the object is expected")
    end
    i = skip_space(i + 1)
  end
end

local function check_array(i, depth, item)
  i = skip_space(i + 1)
  if byte(text, i) == 93 then
    return i + 1
  end
  local index = 0
  while true do
    trail[depth] = index
    i = skip_space(check_value(i, depth, item, true))
    local c = byte(text, i)
    if c == 93 then
      return i + 1
    elseif c ~= 44 then
      refuse(depth, "not JSON: a comma or the end of the array is expected")
    end
    index = index + 1
    i = skip_space(i + 1)
  end
end

check_value = function(i, depth, field, is_item)
  local c, kind = byte(text, i), field.kind
  if c == 123 or c == 91 then
    if depth == DEEPEST then
      refuse(1, "is nested too deeply")
    end
    if kind == ANY or kind == (c == 123 and OBJECT or ARRAY) then
      return (c == 123 and check_object or check_array)(i, depth + 1, c == 91 and ANYTHING or nil, ANYTHING)
    elseif c == 123 and kind == MESSAGE then
      return check_object(i, depth + 1, fields_of[field.message])
    elseif c == 123 and kind == MAP then
      return check_object(i, depth + 1, nil, field.item)
    elseif c == 91 and kind == LIST then
      return check_array(i, depth + 1, field.item)
    end
  elseif find(text, "^null", i) then
    if is_item and kind ~= ANY then
      refuse(depth, "must not be null")
    end
    return i + 4
  elseif kind == SCALAR or kind == ANY or kind == BOOL and c ~= 34 then
    return check_scalar(i, depth)
  elseif kind == ENUM then
    local last, first = check_scalar(i, depth), byte(text, i + 1)
    if first == 92 then
      first = byte(unescaped(sub(text, i + 1, last - 2)))
    end
    -- Names begin with a letter; the transcoder takes a number in quotes as well.
    if c ~= 34 or first > 57 then
      return last
    end
  end
  refuse(depth, EXPECTED[kind])
end

local function check_body(body, message)
  text = body
  local i = skip_space(1)
  if byte(text, i) ~= 123 then
    refuse("", "the body is not a JSON object")
  end
  i = skip_space(check_object(i, 1, fields_of[message]))
  if i <= #text then
    refuse("", "the body goes on after its JSON object")
  end
end

-- Names are compared as they are sent: the transcoder, too, reads no escapes in them.
local function check_query(query, message)
  for parameter in query:gmatch("[^&]+") do
    local name, equals, value = parameter:match("^([^=]*)(=?)(.*)")
    local fields, depth, field = fields_of[message], 0, nil
    for step in (name .. "."):gmatch("([^.]*)%.") do
      field = fields and fields[step]
      if not field then
        refuse(name, "there is no such field")
      end
      depth = depth + 1
      trail[depth] = field.name
      fields = field.kind == MESSAGE and fields_of[field.message] or nil
    end
    local dotted = path(depth)
    if equals == "" then
      refuse(name, "has no value")
    elseif field.kind == BOOL and value ~= "true" and value ~= "false" then
      refuse(name, "must be true or false")
    elseif given[dotted] and not (given[dotted] == "query" and field.kind == LIST) then
      refuse(name, given[dotted] == "path" and "is given by the path already" or "is given twice")
    end
    given[dotted] = "query"
    given_depth = math.max(given_depth, depth)
  end
end

local function check(handle, headers, rest_path)
  local rules = RPCS[headers:get(":path")]
  local body = handle:streamInfo():dynamicMetadata():get(BODY).body
  given, given_depth = {}, 0
  for name in rules.path:gmatch("[^ ]+") do
    given[name] = "path"
    given_depth = math.max(given_depth, select(2, gsub(name, "%.", "")) + 1)
  end
  local question_mark = find(rest_path, "?", 1, true)
  if question_mark then
    check_query(sub(rest_path, question_mark + 1), rules.message)
  end
  if body == "" then
    return
  elseif not rules.body then
    refuse("", "this request has no body")
  end
  check_body(body, rules.message)
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local rest_path = headers:get("x-envoy-original-path")
  if not rest_path then
    return  -- gRPC, to which unknown fields are what makes it compatible
  end
  local fine, problem = pcall(check, handle, headers, rest_path)
  text = nil
  if fine then
    return
  elseif type(problem) == "table" then
    local field = gsub(sub(problem.field, 1, LONGEST), "[%z\1-\31\127-\255]", "?")
    handle:streamInfo():dynamicMetadata():set(CHECK, "field", field)
    handle:streamInfo():dynamicMetadata():set(CHECK, "problem", problem.problem)
    handle:respond({ [":status"] = "400" }, (field == "" and "" or field .. ": ") .. problem.problem)
  end
  -- Whatever is not known to be right is refused.
  handle:logErr("a REST request could not be checked: " .. tostring(problem))
  handle:respond({ [":status"] = "500" }, "the request could not be checked")
end
