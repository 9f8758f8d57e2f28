//! What words say that a tool does.
//!
//! English words alone. The lists were made with the half of
//! `tests/risk/labelled.tsv` that is not kept for the test, and with what other
//! words people have for the same.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::category::RiskCategory::{self, Destructive, Execute, Financial, Read, Write};

/// What a verb says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verb {
    pub(super) category: RiskCategory,
    /// Whether it is as often a noun, so that its place has to tell (`list`, `order`).
    pub(super) may_be_noun: bool,
}

static VERBS: LazyLock<HashMap<&str, Verb>> = LazyLock::new(|| {
    let verbs = [
        (Read, false, READ),
        (Write, false, WRITE),
        (Execute, false, EXECUTE),
        (Financial, false, FINANCIAL),
        (Destructive, false, DESTRUCTIVE),
        (Read, true, PERHAPS_READ),
        (Write, true, PERHAPS_WRITE),
        (Execute, true, PERHAPS_EXECUTE),
        (Financial, true, PERHAPS_FINANCIAL),
        (Destructive, true, PERHAPS_DESTRUCTIVE),
    ];
    let verbs = verbs
        .into_iter()
        .flat_map(|(category, may_be_noun, words)| {
            let verb = Verb {
                category,
                may_be_noun,
            };
            words.split_ascii_whitespace().map(move |word| (word, verb))
        });
    verbs.collect()
});

/// The verb that this word is, in its plain form.
pub(super) fn verb(word: &str) -> Option<Verb> {
    VERBS.get(word).copied()
}

/// Words that are not verbs, or not for what they say by themselves.
#[derive(Clone, Copy)]
pub(super) struct List(&'static str);

impl List {
    pub(super) fn has(self, word: &str) -> bool {
        self.0.split_ascii_whitespace().any(|known| known == word)
    }
}

/// The verb that this word is in a sentence (`deletes`) or in the name of what does
/// it (`reader`).
pub(super) fn inflected(word: &str) -> Option<Verb> {
    verb(word).or_else(|| {
        let stems = stems(word)?;
        stems.into_iter().flatten().find_map(|stem| verb(&stem))
    })
}

fn stems(word: &str) -> Option<[Option<String>; 3]> {
    let base = |end: &str| word.strip_suffix(end).filter(|base| base.len() >= 2);
    if let Some(base) = base("ies") {
        return Some([Some(format!("{base}y")), None, None]);
    }
    if let Some(base) = base("s").filter(|base| !base.ends_with('s')) {
        let shorter = base.strip_suffix('e').map(str::to_owned);
        return Some([Some(base.to_owned()), shorter, None]);
    }
    let base = base("ing").or_else(|| base("er")).or_else(|| base("or"))?;
    let undoubled = base
        .chars()
        .next_back()
        .and_then(|last| base.strip_suffix(last));
    let undoubled =
        undoubled.filter(|shorter| base.chars().next_back() == shorter.chars().next_back());
    Some([
        Some(base.to_owned()),
        Some(format!("{base}e")),
        undoubled.map(str::to_owned),
    ])
}

const READ: &str = "\
    analyse analyze ask browse calculate compare compute convert count decode describe \
    detect diagnose diff discover download echo encode enumerate estimate examine exists \
    explain explore export extract fetch find follow geocode get grep hexists hget hgetall \
    hkeys hmget hvals identify inspect lint llen locate lookup lrange measure mget parse \
    peek poll predict preview read readonly recommend retrieve scan scrape see show smembers \
    stat suggest summarise summarize tail translate validate verify wait xrange zrange";

const PERHAPS_READ: &str = "\
    audit calculator can capture check collect crawl dump evaluate expand has head health is \
    list look map match monitor open ping profile query render report return screenshot \
    search trace view watch whoami";

const WRITE: &str = "\
    acknowledge add adjust allocate amend annotate append apply approve assign attach \
    configure create customize deactivate define detach disable dismiss edit emulate enable \
    fill grant hset import insert invite join leave lpush mkdir modify move mute navigate \
    new patch persist prepend provision publish put reassign register rename reopen reorder \
    reply rerank reserve resize resolve restore revert rpush sadd save scroll set snooze \
    store subscribe sync synchronize toggle transition unarchive unassign undelete undo \
    unfollow unlink unlock unmark unmute unpin unsubscribe untag unwatch update upload \
    upsert write xack xadd zadd";

const PERHAPS_WRITE: &str = "\
    accept activate archive associate bind block bookmark branch build change checkout claim \
    clone close comment commit compose copy disassociate draft duplicate expire \
    favorite flag fork format generate hide hover initialize label like link load lock make \
    mark merge mount note pin post print push react record reject replace request review \
    schedule select share sort split stage star submit switch tag touch transfer type unset \
    upgrade vote";

const EXECUTE: &str = "\
    abort backfill broadcast cancel connect disconnect dispatch drag enqueue evict execute \
    failover impersonate install interact interrupt invoke kill launch migrate notify pause \
    reboot rebuild reconnect recycle redeploy reload replay rerun resend restart resume \
    retry rollback rotate send shutdown simulate spawn start stop suspend terminate";

const PERHAPS_EXECUTE: &str = "\
    boot call click cordon deploy dial drain email eval exec fire force forward login logout \
    message power poweroff press queue release rollout run scale sign signal sms ssh tap \
    trigger uncordon";

const FINANCIAL: &str = "buy donate liquidate pay purchase reimburse remit repay sell withdraw";

const PERHAPS_FINANCIAL: &str = "bet bill charge deposit invoice payout refund spend tip trade";

const DESTRUCTIVE: &str = "\
    cleanup decommission del delete deprovision deregister destroy discard erase expunge \
    flushall flushdb hdel lpop lrem nuke obliterate overwrite purge remove revoke rm rmdir \
    rpop scrub shred srem teardown truncate undeploy uninstall unpublish unregister wipe \
    xdel zrem";

const PERHAPS_DESTRUCTIVE: &str = "clean clear drop empty flush forget pop prune reset trash trim";

/// What does it, where that is what a tool is called.
pub(super) const AGENTS: List = List(
    "creator deleter editor executor fetcher finder installer reader remover runner searcher \
    sender summariser summarizer updater uploader viewer writer",
);

/// What stands before the verb and says how it is done.
pub(super) const MANNERS: List =
    List("admin async auto batch bulk fast hard multi quick raw safe simple soft");

/// What joins two things that are both done.
pub(super) const JOINS: List = List("and n or then");

/// What a tool is named after that only hands it out.
pub(super) const READING_NOUNS: List = List(
    "\
    count details diff docs documentation elevation guide help history indexes info \
    information insight log logs messages metadata metrics overview requests rules schema \
    size snapshot statistics stats status summary time top tree usage version",
);

/// What a tool is named after that runs what it is given.
pub(super) const RUNNING_NOUNS: List =
    List("agent cli command console repl script shell sql terminal");

/// Money, whatever is done with it.
pub(super) const MONEY: List = List(
    "\
    billing cash charge credit deposit dispute donation fund funds invoice invoices journal \
    money payment payments payout payouts payroll purchase refund refunds settlement \
    subscription subscriptions wallet withdrawal",
);

/// Money where there is other money about.
pub(super) const MONEY_IN_COMPANY: List = List(
    "\
    balance bank checkout locate order orders position positions qr quantity stock trade \
    transaction transactions transfer",
);

/// What is offered for money, and costs nobody any yet.
pub(super) const OFFERS: List = List("category plan plans price product template templates");

/// Before these, `subscription` is about news.
pub(super) const NEWS: List = List(
    "\
    alert event events mail mailing newsletter notification notifications pubsub push stream \
    thread topic webhook",
);

/// What is taken away from something that stays, and can be put there again.
pub(super) const TIES: List = List(
    "\
    alias assignee association associations attendee bookmark collaborator dependency \
    favorite follower label labels like link links member members participant pin reaction \
    relation relationship reviewer star tag tags vote watcher",
);

/// What something is taken out of and stays itself.
pub(super) const HOLDERS: List =
    List("album board cart channel collection favorites group list playlist team watchlist");

/// Verbs with which the money of a name is moved, where they alone say less.
pub(super) const DEALS: List = List(
    "\
    accept capture close do exercise finalise finalize handle issue manage perform place \
    process request settle void",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_in_one_list_of_verbs() {
        let lists = [
            READ,
            WRITE,
            EXECUTE,
            FINANCIAL,
            DESTRUCTIVE,
            PERHAPS_READ,
            PERHAPS_WRITE,
            PERHAPS_EXECUTE,
            PERHAPS_FINANCIAL,
            PERHAPS_DESTRUCTIVE,
        ];
        let words = lists.iter().flat_map(|list| list.split_ascii_whitespace());
        assert_eq!(words.count(), VERBS.len());
    }

    #[test]
    fn verbs_are_known_in_the_forms_that_descriptions_have() {
        for (word, plain) in [
            ("deletes", "delete"),
            ("copies", "copy"),
            ("fetches", "fetch"),
            ("running", "run"),
            ("reader", "read"),
            ("creator", "create"),
            ("removing", "remove"),
        ] {
            assert_eq!(inflected(word), verb(plain), "{word}");
            assert!(verb(plain).is_some(), "{plain}");
        }
        for word in ["deleted", "created", "class", "ers", "s"] {
            assert_eq!(inflected(word), None, "{word}");
        }
    }
}
