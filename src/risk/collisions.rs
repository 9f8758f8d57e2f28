//! Tools that a model, or a person, could take for one another.

use std::collections::BTreeMap;

use serde::Serialize;
use unicode_security::skeleton;

use super::definition::{self, ToolDefinition};
use crate::fold::fold;

/// Tools that have one name, or names that look alike: see [`collisions`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Collision {
    kind: CollisionKind,
    tools: Vec<ToolOfServer>,
}

impl Collision {
    /// How alike the names are.
    pub fn kind(&self) -> CollisionKind {
        self.kind
    }

    /// All of them, two at least, in the order in which they were given.
    pub fn tools(&self) -> &[ToolOfServer] {
        &self.tools
    }
}

/// How alike the names of a [`Collision`] are.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CollisionKind {
    /// They are the same: which tool is meant is for the client to guess.
    SameName,
    /// They are not, and are easily taken for one another.
    LookAlike,
}

/// A tool, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToolOfServer {
    server: String,
    tool: String,
}

impl ToolOfServer {
    /// What the server was called.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The name of the tool, as the server tells it: it may hold any character.
    pub fn tool(&self) -> &str {
        &self.tool
    }
}

/// Which tools of the servers that an agent has at the same time have one name, or
/// names that look alike. A server can take calls of another one's tools to itself so,
/// by malice or by chance.
///
/// Names look alike that differ in upper and lower case, in what parts their words
/// (`_`, `-`, `.`, `/`, white space or nothing), in characters that show as nothing, or
/// in letters and digits that are drawn alike, of any script (`delete`, `de1ete`, and
/// with a Cyrillic `е`). Of a name 1 024 bytes are looked at. Tools of one server
/// collide, too.
///
/// ```
/// use mcp_policy::{CollisionKind, ToolDefinition, collisions};
///
/// let mail = ["send_email", "list_folders"].map(ToolDefinition::named);
/// let notes = ["sendEmail", "add_note"].map(ToolDefinition::named);
/// let found = collisions(&[("mail", &mail), ("notes", &notes)]);
/// assert_eq!(found.len(), 1);
/// assert_eq!(found[0].kind(), CollisionKind::LookAlike);
/// assert_eq!(found[0].tools()[1].server(), "notes");
/// ```
pub fn collisions(servers: &[(&str, &[ToolDefinition])]) -> Vec<Collision> {
    let mut alike: BTreeMap<String, Vec<(&str, &str)>> = BTreeMap::new();
    for (server, tools) in servers {
        for tool in *tools {
            let looks = alike.entry(look(tool.name())).or_default();
            looks.push((server, tool.name()));
        }
    }
    let colliding = alike.into_values().filter(|tools| tools.len() > 1);
    colliding.map(collision).collect()
}

fn collision(tools: Vec<(&str, &str)>) -> Collision {
    let mut names = tools.iter().map(|(_, name)| name);
    let first = names.next();
    let is_same = names.all(|name| Some(name) == first);
    let tools = tools.into_iter().map(|(server, tool)| ToolOfServer {
        server: server.to_owned(),
        tool: tool.to_owned(),
    });
    Collision {
        kind: if is_same {
            CollisionKind::SameName
        } else {
            CollisionKind::LookAlike
        },
        tools: tools.collect(),
    }
}

/// The same for all names that look like this one.
fn look(name: &str) -> String {
    // What shows as nothing first: between two letters it would hide what they are.
    let folded = fold(definition::beginning(name));
    // An `l` can stand for an `I`, which is an `i` once it is folded.
    let drawn: String = skeleton(&folded).collect();
    let plain = fold(&drawn).replace('i', "l");
    let words: String = plain.chars().filter(|c| !parts_words(*c)).collect();
    // Nothing is left of a name that has nothing else: such names are not all alike.
    if words.is_empty() { folded } else { words }
}

fn parts_words(character: char) -> bool {
    matches!(character, '_' | '-' | '.' | '/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<ToolDefinition> {
        names
            .iter()
            .map(|name| ToolDefinition::named(*name))
            .collect()
    }

    fn found(one: &str, other: &str) -> Option<CollisionKind> {
        let (one, other) = (named(&[one]), named(&[other]));
        let found = collisions(&[("a", &one), ("b", &other)]);
        found.first().map(Collision::kind)
    }

    #[test]
    fn names_that_are_one_and_names_that_look_alike_are_told_apart() {
        use CollisionKind::{LookAlike, SameName};
        for (one, other, expected) in [
            ("read_file", "read_file", Some(SameName)),
            ("read_file", "Read_File", Some(LookAlike)),
            ("read_file", "readFile", Some(LookAlike)),
            ("read_file", "read-file", Some(LookAlike)),
            ("files/read", "files.read", Some(LookAlike)),
            ("read_file", "read_file\u{200b}", Some(LookAlike)),
            ("read_file", "read_file ", Some(LookAlike)),
            ("read_file", "r\u{435}ad_file", Some(LookAlike)),
            ("read_file", "R\u{415}AD_FILE", Some(LookAlike)),
            ("read_file", "ｒｅａｄ＿ｆｉｌｅ", Some(LookAlike)),
            ("delete_file", "de1ete_file", Some(LookAlike)),
            ("delete_file", "deIete_file", Some(LookAlike)),
            ("modern", "rnodem", Some(LookAlike)),
            ("get_id", "getID", Some(LookAlike)),
            ("go_on", "g0_on", Some(LookAlike)),
            ("read_file", "read_files", None),
            ("read_file", "file_read", None),
            ("get_v1", "get_v2", None),
            ("-", "_", None),
            ("", "", Some(SameName)),
        ] {
            assert_eq!(found(one, other), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn all_that_collide_stand_together_in_their_order() {
        let (one, two, three) = (
            named(&["send", "read", "SEND"]),
            named(&["list", "send"]),
            named(&["s\u{435}nd", "list"]),
        );
        let servers: [(&str, &[ToolDefinition]); 3] =
            [("one", &one), ("two", &two), ("three", &three)];
        let found = collisions(&servers);
        let told: Vec<_> = found
            .iter()
            .map(|collision| {
                let tools = collision.tools().iter();
                let tools = tools.map(|tool| (tool.server(), tool.tool()));
                (collision.kind(), tools.collect::<Vec<_>>())
            })
            .collect();
        let expected = [
            (
                CollisionKind::SameName,
                vec![("two", "list"), ("three", "list")],
            ),
            (
                CollisionKind::LookAlike,
                vec![
                    ("one", "send"),
                    ("one", "SEND"),
                    ("two", "send"),
                    ("three", "s\u{435}nd"),
                ],
            ),
        ];
        assert_eq!(told, expected);
        assert_eq!(found, collisions(&servers));
        assert_eq!(collisions(&[]), []);
    }

    #[test]
    fn it_serialises_with_whose_they_are() {
        let tools = named(&["a_b"]);
        let found = collisions(&[("one", &tools), ("two", &tools)]);
        let expected = serde_json::json!([{ "kind": "same_name", "tools": [
            { "server": "one", "tool": "a_b" }, { "server": "two", "tool": "a_b" },
        ] }]);
        assert_eq!(serde_json::to_value(found).unwrap(), expected);
    }

    #[test]
    fn of_a_long_name_the_beginning_is_looked_at() {
        let long = "x".repeat(1 << 20);
        assert_eq!(
            found(&long, &format!("{long}y")),
            Some(CollisionKind::LookAlike)
        );
    }
}
