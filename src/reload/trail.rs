//! What a path leads through, and so, whose changes change what it leads to.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// As many links as Linux follows.
const MOST_LINKS: u32 = 40;

/// Each link on the way to a file, and the file itself. If the way ends before
/// that, its last member is what is missing.
///
/// No path in it goes through a link, so that each of them can be noticed in the
/// directory that it is in: a Kubernetes ConfigMap changes by a link in the
/// middle of the way.
pub(super) fn trail(path: &Path) -> Vec<PathBuf> {
    let Ok(absolute) = std::path::absolute(path) else {
        return vec![path.to_owned()];
    };
    let mut trail = Vec::new();
    let mut at = PathBuf::new();
    let mut rest = steps(&absolute);
    let mut links: u32 = 0;
    while let Some(step) = rest.pop() {
        if step == ".." {
            at.pop();
            continue;
        }
        let next = at.join(step);
        match fs::symlink_metadata(&next) {
            Err(_) => {
                trail.push(next);
                return trail;
            }
            Ok(found) if found.is_symlink() && links < MOST_LINKS => {
                links = links.saturating_add(1);
                if let Ok(target) = fs::read_link(&next) {
                    rest.extend(steps(&target));
                }
                trail.push(next);
            }
            Ok(_) => at = next,
        }
    }
    trail.push(at);
    trail
}

/// The parts of a path, the last one first. The root of an absolute path is one,
/// and leads away from wherever it is joined to.
fn steps(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev();
    parts
        .filter(|part| *part != Component::CurDir)
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_is_on_the_trail() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let file = root.join("releases/2/policy.json");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        symlink("2", root.join("releases/current")).unwrap();
        symlink(root.join("releases/current"), root.join("data")).unwrap();
        symlink("./data/../2/policy.json", root.join("policy.json")).unwrap();
        let asked = root.join("releases/../policy.json");
        let links = ["policy.json", "data", "releases/current"].map(|link| root.join(link));
        let whole = [&links[..], std::slice::from_ref(&file)].concat();
        assert_eq!(trail(&asked), whole, "a file that is not there");
        fs::write(&file, "").unwrap();
        assert_eq!(trail(&asked), whole);
        fs::remove_dir_all(root.join("releases")).unwrap();
        let cut = [&links[..2], &[root.join("releases")]].concat();
        assert_eq!(trail(&root.join("policy.json")), cut);
    }

    #[test]
    fn links_in_a_circle_end() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("policy.json");
        symlink("policy.json", &link).unwrap();
        // Each time that it is followed, and where it is given up.
        assert_eq!(trail(&link).len(), 41);
    }
}
