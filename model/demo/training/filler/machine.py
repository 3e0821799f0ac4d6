"""Grammars of what programs read and write: keys, values, log messages, code, commands."""

from __future__ import annotations

DATA = r"""
key:
  [id|name|title|status|count|total|price|size|color|date|city|owner|type|value|weight|score|notes|
      unit|lang|path]
  [user|order|item|file|page|max|min|last|first|is|has|num|default|start|end]_[id|name|count|size|
      time|path|date|limit|level|rate|flag|text|type|key]
  [timeout|retries|threads|cache|buffer|level|mode|theme|proxy|host|port|debug|verbose|backend|
      region|zone|bucket]
  [width|height|depth|length|speed|angle|x|y|z|lat|lon|temp|age|year|rank|group|team|color|stock|
      sku|ref]
integer:
  {0..9}
  {10..999}
  {1000..99999}
  -{1..99}
decimal:
  {0..99}.{0..99#2}
  0.{0..9999#4}
  {1..9}.{0..9}e-{1..9}
truth:
  [true|false|null]
percent:
  {0..100}%
  {0..99}.{0..9} %
isodate:
  {1950..2029}-{1..12#2}-{1..28#2}
  {1..28#2}.{1..12#2}.{1950..2029}
  {1..12}/{1..28}/{1950..2029}
plainprice:
  {0..999}.{0..99#2}
  ${0..999}.{0..99#2}
  {1..99},{0..999#3}.00
code_number:
  {initial}{initial}-{100..9999}
  {100000..999999}
  #{1..9999}
  {initial}{0..99#2}{initial}{initial}
  v{0..9}.{0..20}.{0..9}
email_address:
  {word_}.{word_}@[mail|post|office|web|home].[com|org|net|example]
  [info|sales|help|office|{word_}]@{word_}.[com|org|de|uk|fr]
word_:
  {role}
  {animal}
  {substance}
  {food}
path_:
  /[usr|var|home|etc|tmp|opt|data]/{substance}/{animal}.[txt|log|dat|conf|csv|png]
  [src|lib|test|docs|app]/{food}_{animal}.[py|c|h|js|md|go|rs]
  C:\\{substance}\\{animal}.[exe|dll|doc|ini]
log_message:
  [started|stopped|restarting|loading|flushing|closing] {key} {code_number} in {1..9000} ms
  [connection|session|request|job|worker|task] {code_number} [opened|closed|timed out|failed|
      finished] after {decimal} s
  [cannot|could not|failed to] [open|read|write|parse|find] {path_}: [no such file|permission
      denied|timeout|end of file]
  {key}={integer} {key}={decimal} {key}={truth}
  user {word_} logged [in|out] from {city}
  {percent} of {key} used, {1..90000} left
  GET {path_} {200..504} {100..90000}
  retry {1..4} of {4..9} for {email_address}
table_title:
  {^job_thing} and {job_thing}, {year}
  {^food.s}, {food.s} and {food.s} by {place}
  {^idea} of {role.s} in {country}
  {^do.ing} the {job_thing}
  {^object.s}
  {^when}
  Step {1..20}: {do} the {object}
bullet_text:
  {^object}: {price}
  {do} the {object}
  {count} {object.s}, {adj}
  {^clause}
  {fullname}, {role}
  {food}
  {food} and {food} ({amount})
  {^idea}
  call {titled} ([{phone}|tomorrow|{day}])
  {^adj} {device.s} [for|from|in] {city}
"""

CODE = r"""
name:
  [i|j|k|n|x|y|count|index|total|result|value|item|node|line|text|data|buf|len|size|key|left|right]
  {short}_{key}
  {short}
short:
  [file|user|page|row|cell|block|queue|stack|list|tree|graph|token|word|path|frame|timer|cache|
      task|event|state]
verb:
  [get|set|load|save|find|parse|read|write|open|close|add|remove|update|check|make|build|sort|
      count|print|send]
called:
  {verb}_{short}
  {verb}_{short}_{key}
  {verb}
camel:
  {verb}{short.cap}
  {verb}{short.cap}{short.cap}
value:
  {integer}
  {integer}
  {name}
  {name}\[[i|j|0|n - 1]\]
  "{object}"
  "{adj} {role}"
  {name} [+|-|*|/|%] {name}
  {called}({name})
  len({name})
  0x{10..99}[ff|a0|c3|00|7e]
test:
  {name} [==|!=|<|>|<=|>=] {integer}
  {name} [==|!=|<|>] {name}
  not {name}
  {name} is None
  {called}({name}) > {integer}
py_import:
  import [os|sys|json|math|time|random|re|csv|logging|datetime]
  from {short} import {called}, {called}
  {short.upper} = {integer}
py_head:
  def {called}({name}, {name}={integer}):
  def {called}({name}: [int|str|float|bool|list], {name}) -> [int|str|None|bool]:
  class {^short}{^short}:
  def {called}():
py_block:
  if {test}:
  for {name} in [range({integer})|{name}|sorted({name})]:
  while {test}:
  with open("{object}.[txt|csv|json]") as {name}:
  try:
py_statement:
  {name} = {value}
  {name} = {value}
  {name} [+=|-=] {value}
  return {value}
  {called}({value}, {value})
  {name}.append({value})
  print(f"{name}: \{{name}\}")
  {name} = \[{value}, {value}, {value}\]
  raise ValueError("{object} is {adj}")
  assert {test}, "{clause}"
  self.{name} = {value}
  # {clause}
  {name} = \{"{key}": {value}, "{key}": {value}\}
  {name} = \[{name} for {name} in {name} if {test}\]
c_import:
  #include <[stdio|stdlib|string|math|time|stdint|errno]\.h>
  #define {short.upper}_{short.upper} {integer}
  static int {name} = {integer};
c_head:
  [int|void|static int|char *|size_t|double] {called}([int|char *|const char *|double] {name}, int
      {name}) \{
  struct {short} \{
c_block:
  if ({name} [==|!=|<|>] {value}) \{
  for (int i = 0; i < {value}; i++) \{
  while ({name} > {integer}) \{
  switch ({name}) \{
c_statement:
  [int |char |double |const int |]{name} = {value};
  {name}->{name} = {value};
  {called}(&{name}, {value});
  printf("%d {object.s}\\n", {name});
  return {value};
  /* {clause} */
  {name}++;
  free({name});
  {name}\[{integer}\] = '{initial}';
js_import:
  import \{ {camel} \} from './{short}';
  const {camel} = require('{short}');
  const {name} = {integer};
js_head:
  function {camel}({name}, {name}) \{
  const {camel} = ({name}) => \{
  async {camel}({name} = {integer}) \{
  export default function {camel}() \{
js_block:
  if ({name} [===|!==|>] {value}) \{
  for (const {name} of {name}) \{
  {name}.forEach(({name}) => \{
  try \{
js_statement:
  let {name} = {value};
  const {name} = await {camel}({value});
  console.log('{object}', {name});
  return {value};
  {name}.{name} = {value};
  // {clause}
  {name}.push(\{ {key}: {value}, {key}: '{object}' \});
  document.{camel}('{animal}').style.color = '{colour}';
code_comment:
  {^do} the {short} before the {short} is {adj}.
  TODO({word_}): {do} {np}
  See issue #{1..9000}: {clause}
  {date}, {fullname}
sql:
  SELECT {key}, {key} FROM {short}s WHERE {key} [=|>|<|<>] {integer} ORDER BY {key};
  SELECT COUNT(*) FROM {short}s;
  INSERT INTO {short}s ({key}, {key}) VALUES ('{object}', {integer});
  UPDATE {short}s SET {key} = '{city}' WHERE {key} = {integer};
  DELETE FROM {short}s WHERE {key} LIKE '%{animal}%';
  CREATE TABLE {short}s ({key} INTEGER PRIMARY KEY, {key} TEXT, {key} REAL);
  -- {clause}
  ({2..90000} rows)
shell:
  $ [cd|ls -l|cat|rm -f|wc -l|mkdir -p|head -n {1..90}] {path_}
  $ grep -n "{object}" {path_} | sort | uniq -c
  $ git commit -m "{do} {np}"
  $ [make|make test|./run.sh] [-j{2..16}|--{key}={integer}|]
  {path_}:{1..900}: {log_message}
  -rw-r--r-- 1 {word_} {word_} {integer} {mon} {1..28} {0..23#2}:{0..59#2} {animal}.txt
  export {short.upper}_{short.upper}={path_}
  # {clause}
"""
