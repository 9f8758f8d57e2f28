//! The rows, by what they are about.

/// What follows from the path, whatever the operator is.
pub(super) const PATHS: &str = r#"
# the value is there
args.a eq 1                     | {"a": 1}                             | T T T
args.a eq 1                     | {"b": 2, "a": 1, "c": 3}             | T T T
args.a eq 1                     | {"\u0061": 1}                        | T T T
args.a.b eq 1                   | {"a": {"b": 1}}                      | T T T
args["a.b"] eq 1                | {"a.b": 1}                           | T T T
args["a.b"] eq 1                | {"a": {"b": 1}}                      | F F U
args.a[1] eq 1                  | {"a": [0, 1]}                        | T T T
args.a[1].b eq 1                | {"a": [0, {"b": 1}]}                 | T T T
args eq {"a":1}                 | {"a": 1}                             | T T T
args keys_in ["a"]              | {"a": 1}                             | T T T
args keys_in ["a"]              | null                                 | T T T
args eq {}                      | null                                 | T T T

# the path is missing: an object without the key, at whichever step
args.a eq 1                     | {}                                   | F F U
args.a eq 1                     | null                                 | F F U
args.a.b eq 1                   | {}                                   | F F U
args.a.b eq 1                   | {"a": {}}                            | F F U
args.a.b[0][*].c eq 1           | {"a": {"x": 1}}                      | F F U
# a list that is too short
args.a[0] eq 1                  | {"a": []}                            | F F U
args.a[2] eq 1                  | {"a": [1, 1]}                        | F F U
args.a[2].b eq 1                | {"a": [1, 1]}                        | F F U

# a step into something else
args.a.b eq 1                   | {"a": null}                          | U U U
args.a.b eq 1                   | {"a": 1}                             | U U U
args.a.b eq 1                   | {"a": true}                          | U U U
args.a.b eq 1                   | {"a": "{\"b\": 1}"}                  | U U U
args.a.b eq 1                   | {"a": [{"b": 1}]}                    | U U U
args.a[0] eq 1                  | {"a": {"0": 1}}                      | U U U
args.a[0] eq 1                  | {"a": "x"}                           | U U U
args.a[0] eq 1                  | {"a": null}                          | U U U
args.a.b.c.d exists false       | {"a": {"b": 1}}                      | U U U
args.a.b neq 1                  | {"a": null}                          | U U U

# a look-alike beside the wanted key, before and behind it
args.a_b eq 1                   | {"a_b": 1, "A_B": 2}                 | U U U
args.a_b eq 1                   | {"ab": 2, "a_b": 1}                  | U U U
args.a_b eq 1                   | {"a_b": 1, "a-b": 1}                 | U U U
args.a_b eq 1                   | {"a_b": 1, "a\u0000_b": 2}           | U U U
args.a_b eq 1                   | {"a_b": 1, "ａb": 2}                 | U U U
args.a_b eq 1                   | {"a_b": 1, "a\u200bb": 2}            | U U U
args.a_b eq 1                   | {"a_b": 1, "a b": 2}                 | U U U
args.ask eq 1                   | {"ask": 1, "as\u212a": 2}            | U U U
args.ask eq 1                   | {"a\u017fk": 2, "ask": 1}            | U U U
args.a.b eq 1                   | {"a": {"b": 1}, "A": {}}             | U U U
args.a.b eq 1                   | {"A": {}, "a": {"b": 1}}             | U U U
args.a.b eq 1                   | {"a": {"b": 1, "B": 1}}              | U U U
args.a eq 2                     | {"a": 1, "A": 1}                     | U U U
# instead of it
args.a_b eq 1                   | {"ab": 1}                            | U U U
args.a.b eq 1                   | {"A": {"b": 1}}                      | U U U
args.a[0] eq 1                  | {"A": [1]}                           | U U U
args.a[*] eq 1                  | {"A": []}                            | U U U
# another name is another name, at whatever depth
args.a eq 1                     | {"a": 1, "ab": 2, "b": {"A": 1}}     | T T T
args.a eq 1                     | {"a": 1, "\u0430": 2}                | T T T

# [*]: every element, any element
args.a[*] eq 1                  | {"a": [1, 1]}                        | T T T
args.a[*] eq 1                  | {"a": [1, 2]}                        | F T T
args.a[*] eq 1                  | {"a": [2, 3]}                        | F F F
args.a[*] eq 1                  | {"a": [1, "1"]}                      | U T T
args.a[*] eq 1                  | {"a": [2, "1"]}                      | F U U
args.a[*] eq 1                  | {"a": ["1"]}                         | U U U
args.a[*] eq 1                  | {"a": []}                            | T F F
args.a[*].b eq 1                | {"a": []}                            | T F F
args.a[*] exists true           | {"a": []}                            | T F F
args.a[*] neq 1                 | {"a": []}                            | T F F
args.a[*] eq 1                  | {"a": {}}                            | U U U
args.a[*] eq 1                  | {"a": null}                          | U U U
args.a[*] eq 1                  | {"a": 1}                             | U U U
args.a[*] eq 1                  | {"a": "[1]"}                         | U U U
args.a[*] eq 1                  | {}                                   | F F U
args.a[*].b eq 1                | {"a": [{"b": 1}, {"b": 1}]}          | T T T
args.a[*].b eq 1                | {"a": [{"b": 1}, {}]}                | F T T
args.a[*].b eq 1                | {"a": [{"b": 2}, {}]}                | F F U
args.a[*].b eq 1                | {"a": [{"b": 1}, {"B": 1}]}          | U T T
args.a[*].b eq 1                | {"a": [{"b": 2}, {"b": 1, "B": 1}]}  | F U U
args.a[*].b eq 1                | {"a": [{"b": 1, "B": 1}, {"b": 1}]}  | U T T
args.a[*].b eq 1                | {"a": [{"b": 1}, null]}              | U T T
args.a[*].b neq 1               | {"a": [{"b": 2}, {}]}                | U T T
args.a[*].b exists false        | {"a": [{}, {"c": 1}]}                | T T T
args.a[*][*] eq 1               | {"a": [[1], [1, 1]]}                 | T T T
args.a[*][*] eq 1               | {"a": [[1], []]}                     | T T T
args.a[*][*] eq 1               | {"a": [[], []]}                      | T F F
args.a[*][*] eq 1               | {"a": [[2], [1]]}                    | F T T
args.a[*][*] eq 1               | {"a": [[1], 1]}                      | U T T
args.a[*].b[*].c eq 1           | {"a": [{"b": [{"c": 1}]}, {"b": []}]}| T T T
args.a[*].b[*].c eq 1           | {"a": [{"b": [{"c": 1}]}, {}]}       | F T T
args.a[0][*] eq 1               | {"a": [[1], [2]]}                    | T T T
args.a[*] eq 1                  | {"a": [1], "A": []}                  | U U U

# the other roots
caller.id eq "ann"              | {}                                   | T T T
caller.claims.team eq "ops"     | {}                                   | T T T
caller.claims.none eq 1         | {}                                   | F F U
tool.name eq "run"              | {}                                   | T T T
client.name eq "x"              | {}                                   | U U U
client.name exists false        | {}                                   | U U U
client exists true              | {}                                   | U U U
client[*] eq 1                  | {}                                   | U U U
resource.uri starts_with "a:"   | {}                                   | T T T
"#;

pub(super) const EQUALITY: &str = r#"
# eq
args.a eq "x"                   | {"a": "x"}                           | T T T
args.a eq "x"                   | {"a": "X"}                           | F F F
args.a eq "x"                   | {"a": ""}                            | F F F
args.a eq "x"                   | {"a": "\u0078"}                      | T T T
args.a eq "x"                   | {"a": null}                          | U U U
args.a eq "x"                   | {"a": 1}                             | U U U
args.a eq "x"                   | {"a": true}                          | U U U
args.a eq "x"                   | {"a": ["x"]}                         | U U U
args.a eq "x"                   | {"a": {}}                            | U U U
args.a eq "1"                   | {"a": 1}                             | U U U
args.a eq 1                     | {"a": "1"}                           | U U U
args.a eq 1                     | {"a": true}                          | U U U
args.a eq 1                     | {"a": 2}                             | F F F
args.a eq true                  | {"a": true}                          | T T T
args.a eq true                  | {"a": false}                         | F F F
args.a eq true                  | {"a": "true"}                        | U U U
args.a eq true                  | {"a": 1}                             | U U U
args.a eq null                  | {"a": null}                          | T T T
args.a eq null                  | {"a": 0}                             | U U U
args.a eq null                  | {}                                   | F F U
args.a eq []                    | {"a": []}                            | T T T
args.a eq []                    | {"a": [1]}                           | F F F
args.a eq []                    | {"a": {}}                            | U U U
args.a eq {}                    | {"a": {}}                            | T T T
args.a eq {}                    | {"a": {"x": 1}}                      | F F F
args.a eq {}                    | {"a": []}                            | U U U
args.a eq {}                    | {"a": "{}"}                          | U U U
# in depth: exactly, in any order of the keys
args.a eq [1,"x",null]          | {"a": [1.0, "x", null]}              | T T T
args.a eq [1,"x"]               | {"a": ["x", 1]}                      | U U U
args.a eq [1,2]                 | {"a": [2, 1]}                        | F F F
args.a eq [1,2]                 | {"a": [1]}                           | F F F
args.a eq [1,2]                 | {"a": [1, 2, 2]}                     | F F F
args.a eq [1]                   | {"a": ["1"]}                         | U U U
args.a eq [1,2]                 | {"a": ["1", 3]}                      | F F F
args.a eq [0.3]                 | {"a": [0.30000000000000004]}         | F F F
args.a eq [1]                   | {"a": [9007199254740993]}            | U U U
args.a eq [[[]]]                | {"a": [[[]]]}                        | T T T
args.a eq {"x":1,"y":[2]}       | {"a": {"y": [2], "x": 1}}            | T T T
args.a eq {"x":1,"y":[2]}       | {"a": {"y": [3], "x": 1}}            | F F F
args.a eq {"x":1,"y":[2]}       | {"a": {"x": 1}}                      | F F F
args.a eq {"x":1}               | {"a": {"x": 1, "z": 1}}              | F F F
args.a eq {"x":1}               | {"a": {"x": 1, "X": 1}}              | U U U
args.a eq {"x":1}               | {"a": {"X": 1, "x": 1}}              | U U U
args.a eq {"x":1}               | {"a": {"X": 1}}                      | U U U
args.a eq {"x":1}               | {"a": {"_x": 1, "z": 1}}             | F F F
args.a eq {"x":1,"X":2}         | {"a": {"X": 2, "x": 1}}              | T T T
args.a eq {"x":1,"X":2}         | {"a": {"x": 1}}                      | F F F
args.a eq {"x":1}               | {"a": {"x": "1"}}                    | U U U
args.a eq {"x":{"y":1}}         | {"a": {"x": {"y": 1e0}}}             | T T T
args.a eq {"x":1e2}             | {"a": {"x": 100}}                    | T T T

# neq
args.a neq "x"                  | {"a": "y"}                           | T T T
args.a neq "x"                  | {"a": "x"}                           | F F F
args.a neq "x"                  | {"a": 1}                             | U U U
args.a neq "x"                  | {"a": null}                          | U U U
args.a neq "x"                  | {"a": ["x"]}                         | U U U
args.a neq "x"                  | {}                                   | U U U
args.a neq "x"                  | {"A": "y"}                           | U U U
args.a neq "x"                  | {"a": "y", "A": "y"}                 | U U U
args.a neq 1                    | {"a": 9007199254740993}              | U U U
args.a neq {"x":1}              | {"a": {"x": 2}}                      | T T T
args.a neq {"x":1}              | {"a": {"X": 2}}                      | U U U
args.a neq null                 | {"a": null}                          | F F F
args.a[0] neq 1                 | {"a": []}                            | U U U

# in
args.a in ["x","y"]             | {"a": "y"}                           | T T T
args.a in ["x","y"]             | {"a": "z"}                           | F F F
args.a in ["x","y"]             | {"a": 1}                             | U U U
args.a in ["x","y"]             | {"a": null}                          | U U U
args.a in ["x","y"]             | {"a": ["x"]}                         | U U U
args.a in ["x","y"]             | {}                                   | F F U
args.a in ["x","y"]             | {"A": "x"}                           | U U U
args.a in ["x",1,null]          | {"a": 1.0}                           | T T T
args.a in ["x",1,null]          | {"a": "1"}                           | F F F
args.a in ["x",1,null]          | {"a": null}                          | T T T
args.a in ["x",1,null]          | {"a": true}                          | U U U
args.a in ["x",1,null]          | {"a": 9007199254740993}              | U U U
args.a in [true,[1],{"k":2}]    | {"a": true}                          | T T T
args.a in [true,[1],{"k":2}]    | {"a": false}                         | F F F
args.a in [true,[1],{"k":2}]    | {"a": [1]}                           | T T T
args.a in [true,[1],{"k":2}]    | {"a": [2]}                           | F F F
args.a in [true,[1],{"k":2}]    | {"a": {"k": 2}}                      | T T T
args.a in [true,[1],{"k":2}]    | {"a": {"K": 2}}                      | U U U
args.a in [[1],["1"]]           | {"a": ["1"]}                         | T T T
args.a in [[1],["1"]]           | {"a": ["2"]}                         | U U U
args.a in [[1],[2]]             | {"a": {}}                            | U U U
args.a[*] in [1,2]              | {"a": [1, 2, 1]}                     | T T T
args.a[*] in [1,2]              | {"a": [1, 3]}                        | F T T

# not_in
args.a not_in ["x","y"]         | {"a": "z"}                           | T T T
args.a not_in ["x","y"]         | {"a": "x"}                           | F F F
args.a not_in ["x","y"]         | {"a": 1}                             | U U U
args.a not_in ["x","y"]         | {"a": null}                          | U U U
args.a not_in ["x","y"]         | {}                                   | U U U
args.a not_in ["x","y"]         | {"A": "z"}                           | U U U
args.a not_in ["x",1]           | {"a": 2}                             | T T T
args.a not_in ["x",1]           | {"a": 500.00000000000000001}         | U U U
args.a[*] not_in ["x"]          | {"a": ["y", "x"]}                    | F T T
args.a not_in ["x",1]           | {"a": {}}                            | U U U
args.a not_in ["x",1]           | {"a": ["x"]}                         | U U U
args.a not_in ["x",["x"]]       | {"a": ["y"]}                         | T T T
args.a[*] not_in ["x"]          | {"a": []}                            | T F F
"#;

pub(super) const NUMBERS: &str = r#"
args.a lt 5                     | {"a": 4}                             | T T T
args.a lt 5                     | {"a": 5}                             | F F F
args.a lte 5                    | {"a": 5}                             | T T T
args.a lte 5                    | {"a": 6}                             | F F F
args.a gt 5                     | {"a": 6}                             | T T T
args.a gt 5                     | {"a": 5}                             | F F F
args.a gte 5                    | {"a": 5}                             | T T T
args.a gte 5                    | {"a": 4.9}                           | F F F
args.a lte 100                  | {"a": 1e2}                           | T T T
args.a gte 100                  | {"a": 10E+1}                         | T T T
args.a eq 100                   | {"a": 1e2}                           | T T T
args.a eq 0                     | {"a": -0}                            | T T T
args.a eq 0                     | {"a": -0.0}                          | T T T
args.a lt 0                     | {"a": -0}                            | F F F
args.a lt 0                     | {"a": -1e-300}                       | T T T
args.a gt -2                    | {"a": -1.5}                          | T T T
args.a lt -2                    | {"a": -1.5}                          | F F F
args.a lte 0.3                  | {"a": 0.30000000000000004}           | F F F
args.a lte 0.30000000000000004  | {"a": 0.30000000000000004}           | T T T
args.a lte 500                  | {"a": 500.00000000000000001}         | U U U
args.a lte 500                  | {"a": 1111111111111111111111111111111111111111} | U U U
args.a lte 9007199254740991     | {"a": 9007199254740991}              | T T T
args.a lte 9007199254740991     | {"a": 9007199254740992}              | F F F
args.a lte 9007199254740991     | {"a": 9007199254740993}              | U U U
args.a lte 9007199254740991     | {"a": -9007199254740993}             | U U U
args.a lte 1                    | {"a": 1e-400}                        | U U U
args.a gte 1                    | {"a": 1e22}                          | T T T
args.a exists true              | {"a": 1e-400}                        | T T T
args.a lte 500                  | {"a": "499"}                         | U U U
args.a lte 500                  | {"a": true}                          | U U U
args.a lte 500                  | {"a": null}                          | U U U
args.a lte 500                  | {"a": [1]}                           | U U U
args.a lte 500                  | {"a": {"b": 1}}                      | U U U
args.a lte 500                  | {}                                   | F F U
args.a gt 500                   | {}                                   | F F U
args.a lte 500                  | {"A": 1}                             | U U U
args.a lte 500                  | {"a": 1, "A": 1}                     | U U U
args.a[*] lte 500               | {"a": [1, 500]}                      | T T T
args.a[*] lte 500               | {"a": [501, 1]}                      | F T T
args.a[*] lte 500               | {"a": []}                            | T F F
args.a lt 5                     | {"a": null}                          | U U U
args.a lt 5                     | {"a": "1"}                           | U U U
args.a lt 5                     | {"a": [1]}                           | U U U
args.a lt 5                     | {"a": {"b": 1}}                      | U U U
args.a lt 5                     | {}                                   | F F U
args.a lt 5                     | {"A": 1}                             | U U U
args.a lt 5                     | {"a": 1, "A": 1}                     | U U U
args.a[*] lt 5                  | {"a": [4, 6]}                        | F T T
args.a gt 5                     | {"a": null}                          | U U U
args.a gt 5                     | {"a": "1"}                           | U U U
args.a gt 5                     | {"a": [1]}                           | U U U
args.a gt 5                     | {"a": {"b": 1}}                      | U U U
args.a gt 5                     | {}                                   | F F U
args.a gt 5                     | {"A": 1}                             | U U U
args.a gt 5                     | {"a": 1, "A": 1}                     | U U U
args.a[*] gt 5                  | {"a": [4, 6]}                        | F T T
args.a gte 5                    | {"a": null}                          | U U U
args.a gte 5                    | {"a": "1"}                           | U U U
args.a gte 5                    | {"a": [1]}                           | U U U
args.a gte 5                    | {"a": {"b": 1}}                      | U U U
args.a gte 5                    | {}                                   | F F U
args.a gte 5                    | {"A": 1}                             | U U U
args.a gte 5                    | {"a": 1, "A": 1}                     | U U U
args.a[*] gte 5                 | {"a": [4, 6]}                        | F T T
"#;

pub(super) const STRINGS: &str = r#"
# regex: a search, unanchored
args.a regex "^v[0-9]+$"        | {"a": "v12"}                         | T T T
args.a regex "^v[0-9]+$"        | {"a": "xv12"}                        | F F F
args.a regex "main"             | {"a": "not-main"}                    | T T T
args.a regex "^.$"              | {"a": "\u00e9"}                      | T T T
args.a regex "^a$"              | {"a": "a\n"}                         | F F F
args.a regex "1"                | {"a": 1}                             | U U U
args.a regex "."                | {"a": null}                          | U U U
args.a regex "."                | {"a": true}                          | U U U
args.a regex "."                | {"a": ["x"]}                         | U U U
args.a regex "."                | {"a": {}}                            | U U U
args.a regex "."                | {}                                   | F F U
args.a regex "."                | {"A": "x"}                           | U U U
args.a regex "."                | {"a": "x", "A": "x"}                 | U U U
args.a[*] regex "x"             | {"a": ["x", "y"]}                    | F T T
args.a[*] regex "x"             | {"a": []}                            | T F F

# contains: a substring, or an element
args.a contains "b"             | {"a": "abc"}                         | T T T
args.a contains "b"             | {"a": "aBc"}                         | F F F
args.a contains "b"             | {"a": "a\u0062"}                     | T T T
args.a contains "b"             | {"a": ["a", "b"]}                    | T T T
args.a contains "b"             | {"a": ["abc"]}                       | F F F
args.a contains "b"             | {"a": []}                            | F F F
args.a contains "b"             | {"a": [1, "b"]}                      | T T T
args.a contains "b"             | {"a": [1, "c"]}                      | U U U
args.a contains 1               | {"a": [2, 1.0]}                      | T T T
args.a contains 1               | {"a": ["1"]}                         | U U U
args.a contains 1               | {"a": [2, 9007199254740993]}         | U U U
args.a contains 1               | {"a": "1"}                           | U U U
args.a contains {"x":1}         | {"a": [{}, {"x": 1}]}                | T T T
args.a contains {"x":1}         | {"a": [{"X": 1}]}                    | U U U
args.a contains "b"             | {"a": {"b": 1}}                      | U U U
args.a contains "b"             | {"a": null}                          | U U U
args.a contains "1"             | {"a": 1}                             | U U U
args.a contains "b"             | {}                                   | F F U
args.a contains "b"             | {"A": "b"}                           | U U U
args.a[*] contains "b"          | {"a": ["b", "a"]}                    | F T T
args.a[*] contains "b"          | {"a": [["b"], "ab"]}                 | T T T

# starts_with, ends_with
args.a starts_with "ab"         | {"a": "abc"}                         | T T T
args.a starts_with "ab"         | {"a": "Abc"}                         | F F F
args.a starts_with "ab"         | {"a": "a"}                           | F F F
args.a starts_with "ab"         | {"a": ["ab"]}                        | U U U
args.a starts_with "1"          | {"a": 1}                             | U U U
args.a starts_with "ab"         | {"a": null}                          | U U U
args.a starts_with "ab"         | {"a": {}}                            | U U U
args.a starts_with "ab"         | {}                                   | F F U
args.a starts_with "ab"         | {"A": "ab"}                          | U U U
args.a starts_with "ab"         | {"a": "ab", "A": ""}                 | U U U
args.a[*] starts_with "a"       | {"a": ["ab", "b"]}                   | F T T
args.a[*] starts_with "a"       | {"a": []}                            | T F F
args.a ends_with "bc"           | {"a": "abc"}                         | T T T
args.a ends_with "bc"           | {"a": "bcd"}                         | F F F
args.a ends_with "1"            | {"a": 1}                             | U U U
args.a ends_with "bc"           | {"a": null}                          | U U U
args.a ends_with "bc"           | {"a": ["bc"]}                        | U U U
args.a ends_with "bc"           | {"a": {}}                            | U U U
args.a ends_with "bc"           | {"a": true}                          | U U U
args.a ends_with "bc"           | {}                                   | F F U
args.a ends_with "bc"           | {"A": "bc"}                          | U U U
args.a[*] ends_with "b"         | {"a": ["ab", "b"]}                   | T T T

# path_within
args.a path_within "/srv"       | {"a": "/srv/x"}                      | T T T
args.a path_within "/srv"       | {"a": "/srv/../etc"}                 | F F F
args.a path_within "/srv"       | {"a": "/srv2/x"}                     | F F F
args.a path_within "/srv"       | {"a": "srv/x"}                       | U U U
args.a path_within "/srv"       | {"a": "/srv/%2e%2e/x"}               | U U U
args.a path_within ["/a","/b"]  | {"a": "/b/x"}                        | T T T
args.a path_within ["/a","/b"]  | {"a": "/c/x"}                        | F F F
args.a path_within "/srv"       | {"a": ["/srv/x"]}                    | U U U
args.a path_within "/srv"       | {"a": null}                          | U U U
args.a path_within "/srv"       | {"a": 1}                             | U U U
args.a path_within "/srv"       | {"a": {}}                            | U U U
args.a path_within "/srv"       | {}                                   | F F U
args.a path_within "/srv"       | {"A": "/srv/x"}                      | U U U
args.a[*] path_within "/srv"    | {"a": ["/srv/x", "/etc"]}            | F T T
args.a[*] path_within "/srv"    | {"a": []}                            | T F F

# host_in
args.a host_in ["a.dev"]        | {"a": "https://a.dev/x"}             | T T T
args.a host_in ["a.dev"]        | {"a": "https://b.dev/x"}             | F F F
args.a host_in ["a.dev"]        | {"a": "https://a.dev@b.dev/x"}       | U U U
args.a host_in ["a.dev"]        | {"a": "a.dev"}                       | U U U
args.a host_in ["a.dev"]        | {"a": ["https://a.dev/"]}            | U U U
args.a host_in ["a.dev"]        | {"a": null}                          | U U U
args.a host_in ["a.dev"]        | {"a": 1}                             | U U U
args.a host_in ["a.dev"]        | {"a": {}}                            | U U U
args.a host_in ["a.dev"]        | {}                                   | F F U
args.a host_in ["a.dev"]        | {"A": "https://a.dev/"}              | U U U
args.a[*] host_in ["a.dev"]     | {"a": ["https://a.dev", "http://b"]} | F T T
args.a[*] host_in ["a.dev"]     | {"a": []}                            | T F F
"#;

pub(super) const SHAPES: &str = r#"
# exists: there, and not null
args.a exists true              | {"a": 0}                             | T T T
args.a exists true              | {"a": false}                         | T T T
args.a exists true              | {"a": ""}                            | T T T
args.a exists true              | {"a": []}                            | T T T
args.a exists true              | {"a": {}}                            | T T T
args.a exists true              | {"a": null}                          | F F F
args.a exists true              | {}                                   | F F F
args.a exists true              | {"A": 1}                             | U U U
args.a exists true              | {"a": 1, "A": 1}                     | U U U
args.a exists false             | {}                                   | T T T
args.a exists false             | {"a": null}                          | T T T
args.a exists false             | {"a": 1}                             | F F F
args.a exists false             | {"a": []}                            | F F F
args.a exists false             | {"A": 1}                             | U U U
args.a[0] exists false          | {"a": []}                            | T T T
args.a[0] exists true           | {"a": [1]}                           | T T T
args.a.b exists false           | {"a": "x"}                           | U U U
args.a[*] exists false          | {}                                   | T T T
args.a[*].b exists true         | {"a": [{"b": 1}, {"b": null}]}       | F T T
args exists true                | {}                                   | T T T

# keys_in
args.a keys_in ["x","y"]        | {"a": {"x": 1}}                      | T T T
args.a keys_in ["x","y"]        | {"a": {"y": 1, "x": null}}           | T T T
args.a keys_in ["x","y"]        | {"a": {}}                            | T T T
args.a keys_in ["x","y"]        | {"a": {"x": 1, "bcc": 1}}            | F F F
args.a keys_in ["x","y"]        | {"a": {"x": {"bcc": 1}}}             | T T T
args.a keys_in ["x","y"]        | {"a": {"X": 1}}                      | U U U
args.a keys_in ["x","y"]        | {"a": {"x": 1, "X": 1}}              | U U U
args.a keys_in ["x","y"]        | {"a": {"X": 1, "z": 1}}              | F F F
args.a keys_in ["x","X"]        | {"a": {"X": 1, "x": 1}}              | T T T
args.a keys_in []               | {"a": {}}                            | T T T
args.a keys_in []               | {"a": {"x": 1}}                      | F F F
args.a keys_in ["x"]            | {"a": ["x"]}                         | U U U
args.a keys_in ["x"]            | {"a": "x"}                           | U U U
args.a keys_in ["x"]            | {"a": null}                          | U U U
args.a keys_in ["x"]            | {"a": 1}                             | U U U
args.a keys_in ["x"]            | {}                                   | F F U
args.a keys_in ["x"]            | {"A": {}}                            | U U U
args.a[*] keys_in ["x"]         | {"a": [{"x": 1}, {"y": 1}]}          | F T T
args keys_in ["x"]              | {"x": 1, "y": 1}                     | F F F

# length_lte
args.a length_lte 3             | {"a": "abc"}                         | T T T
args.a length_lte 3             | {"a": "abcd"}                        | F F F
args.a length_lte 3             | {"a": ""}                            | T T T
args.a length_lte 1             | {"a": "\ud83d\ude00"}                | T T T
args.a length_lte 1             | {"a": "e\u0301"}                     | F F F
args.a length_lte 2             | {"a": [1, [2, 3, 4]]}                | T T T
args.a length_lte 2             | {"a": [1, 2, 3]}                     | F F F
args.a length_lte 0             | {"a": []}                            | T T T
args.a length_lte 1             | {"a": {"x": [1, 2]}}                 | T T T
args.a length_lte 1             | {"a": {"x": 1, "y": 2}}              | F F F
args.a length_lte 1e0           | {"a": "x"}                           | T T T
args.a length_lte 3             | {"a": 1}                             | U U U
args.a length_lte 3             | {"a": null}                          | U U U
args.a length_lte 3             | {"a": true}                          | U U U
args.a length_lte 3             | {}                                   | F F U
args.a length_lte 3             | {"A": ""}                            | U U U
args.a[*] length_lte 1          | {"a": ["x", [1, 2]]}                 | F T T
args.a[*] length_lte 1          | {"a": []}                            | T F F
"#;
