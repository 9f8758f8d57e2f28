use super::assessment::{ActionRisk, Assessment, Confidence, Evidence, EvidencePlace};
use super::category::RiskCategory;
use super::definition::{self, Parameter, ToolDefinition};
use super::name::{self, Said};
use super::siblings::Siblings;
use super::{arguments, text, words};

/// How dangerous a tool is, with the words that say so.
///
/// What its name says, what its description begins with and what its arguments are
/// called: the worst of these counts. What the server says of it for programs, its
/// `annotations`, can make it worse and never better. A tool that is told by an
/// argument what to do (`action: enable | disable | delete`) has the worst of what
/// it can be told, and [`Assessment::actions`] has each.
///
/// The same definition among the same siblings is always judged the same.
///
/// # What it does not do
///
/// It reads words and knows no server. It understands English words in ASCII: a
/// name with other letters is at least [`Unknown`](RiskCategory::Unknown), a
/// description in another language says nothing. A name that lies is believed,
/// unless something else in the definition says worse. It is what a policy can
/// begin with, not a judgement on the server.
///
/// ```
/// use mcp_policy::{RiskCategory, Siblings, ToolDefinition, classify};
/// use serde_json::json;
///
/// let tool = ToolDefinition::from_value(&json!({
///     "name": "manage_flow",
///     "inputSchema": { "type": "object", "properties": {
///         "action": { "type": "string", "enum": ["get_yaml", "disable", "delete"] },
///     } },
/// })).unwrap();
/// let found = classify(&tool, &Siblings::default());
/// assert_eq!(found.category(), RiskCategory::Destructive);
/// assert_eq!(found.evidence()[0].to_string(), "`delete` as `args.action`");
/// assert_eq!(found.actions()[0].value(), "get_yaml");
/// assert_eq!(found.actions()[0].category(), RiskCategory::Read);
/// ```
pub fn classify(tool: &ToolDefinition, siblings: &Siblings) -> Assessment {
    let mut case = Case::new(tool, siblings);
    case.listen();
    case.measure();
    case.look_at_arguments();
    case.believe_the_worse();
    case.close()
}

/// So many values are judged; what the others do is taken to be the worst.
const MOST_ACTIONS: usize = 1_024;
/// So many findings are told.
const MOST_EVIDENCE: usize = 64;

/// Something that was found.
struct Finding {
    evidence: Evidence,
    is_weak: bool,
}

struct Case<'t> {
    tool: &'t ToolDefinition,
    /// The words of the name without what its siblings share.
    words: Vec<String>,
    has_money: bool,
    selectors: Vec<&'t Parameter>,
    findings: Vec<Finding>,
    actions: Vec<ActionRisk>,
}

impl<'t> Case<'t> {
    fn new(tool: &'t ToolDefinition, siblings: &Siblings) -> Self {
        let name = definition::beginning(&tool.name);
        let mut words = words::of_name(name);
        words.drain(..siblings.shared(&words));
        let has_money = siblings.are_about_money();
        let names_verbs = |parameter: &&Parameter| {
            let says = |value: &String| !name::judge(&words::of_name(value), false).is_empty();
            arguments::is_selector(parameter) && parameter.values.iter().any(says)
        };
        Self {
            tool,
            words,
            has_money,
            selectors: tool.parameters.iter().filter(names_verbs).collect(),
            findings: Vec::new(),
            actions: Vec::new(),
        }
    }

    fn find(&mut self, place: EvidencePlace, said: &Said) {
        self.findings.push(Finding {
            evidence: Evidence::new(place, &said.words.join("…"), said.category),
            is_weak: said.is_weak,
        });
    }

    /// What the name and the description say.
    fn listen(&mut self) {
        let mut of_name = name::judge(&self.words, self.has_money);
        let mut of_text = text::judge(&self.tool.description);
        // Its actions say it better: one by one.
        if !self.selectors.is_empty() {
            of_name.retain(|said| !said.is_weak);
            of_text.clear();
        }
        let is_clear = |said: &[Said]| said.iter().any(|said| !said.is_weak);
        let (name_is_clear, text_is_clear) = (is_clear(&of_name), is_clear(&of_text));
        for said in &of_name {
            let is_grave = said.category >= RiskCategory::Financial;
            if !said.is_weak || !text_is_clear || is_grave {
                self.find(EvidencePlace::Name, said);
            }
        }
        for said in &of_text {
            let is_grave = said.category >= RiskCategory::Financial;
            if !said.is_weak || !name_is_clear || is_grave {
                self.find(EvidencePlace::Description, said);
            }
        }
        let foreign = |character: &char| character.is_alphabetic() && !character.is_ascii();
        if let Some(letter) = self.tool.name.chars().find(foreign) {
            let said = Said {
                category: RiskCategory::Unknown,
                words: vec![letter.to_string()],
                is_weak: false,
            };
            self.find(EvidencePlace::Name, &said);
        }
    }

    fn measure(&mut self) {
        if self.tool.is_cut {
            let said = Said {
                category: RiskCategory::Unknown,
                words: vec!["…".to_owned()],
                is_weak: false,
            };
            self.find(EvidencePlace::Definition, &said);
        }
    }

    fn worst(&self) -> Option<RiskCategory> {
        self.findings
            .iter()
            .map(|finding| finding.evidence.category())
            .max()
    }

    fn look_at_arguments(&mut self) {
        let runs = self.worst() == Some(arguments::RUNS);
        let taken = arguments::that_is_run(self.tool, runs);
        if let Some((parameter, told)) = taken {
            let words = std::iter::once(parameter.name.clone()).chain(told);
            let said = Said {
                category: arguments::RUNS,
                words: words.collect(),
                is_weak: false,
            };
            self.find(EvidencePlace::Argument(parameter.path.clone()), &said);
        }
        if let Some(place) = arguments::saved_to(self.tool) {
            let said = Said {
                category: RiskCategory::Write,
                words: vec![place.name.clone()],
                is_weak: false,
            };
            self.find(EvidencePlace::Argument(place.path.clone()), &said);
        }
        let changes = self.worst().is_some_and(|worst| worst > RiskCategory::Read);
        if let Some(amount) = arguments::amount(self.tool).filter(|_| changes) {
            let said = Said {
                category: RiskCategory::Financial,
                words: vec![amount.name.clone()],
                is_weak: false,
            };
            self.find(EvidencePlace::Argument(amount.path.clone()), &said);
        }
        self.look_at_actions();
    }

    /// Each value of the arguments that choose what is done.
    fn look_at_actions(&mut self) {
        // What the name says of a tool that does several things is true of all of them
        // only if it is bad.
        let base = self.worst().filter(|worst| *worst >= RiskCategory::Execute);
        for parameter in self.selectors.clone() {
            for value in &parameter.values {
                let found = if self.actions.len() < MOST_ACTIONS {
                    self.action(value)
                } else {
                    RiskCategory::Destructive
                };
                let category = found.max(base.unwrap_or(RiskCategory::Read));
                let action = ActionRisk::new(&parameter.path, value, category);
                self.actions.push(action);
                let said = Said {
                    category: found,
                    words: vec![value.clone()],
                    is_weak: false,
                };
                self.find(EvidencePlace::Value(parameter.path.clone()), &said);
            }
        }
    }

    fn action(&self, value: &str) -> RiskCategory {
        let words = words::of_name(value);
        let said = name::judge(&words, self.has_money);
        let worst = said.iter().map(|said| said.category).max();
        let worst = worst.unwrap_or(RiskCategory::Unknown);
        // `create` of a tool that is named after payments.
        if worst == RiskCategory::Write || worst == RiskCategory::Execute {
            let with_name: Vec<String> = words.into_iter().chain(self.words.clone()).collect();
            let said = name::judge(&with_name, self.has_money);
            let is_money = |said: &&Said| said.category == RiskCategory::Financial;
            return said
                .iter()
                .find(is_money)
                .map_or(worst, |said| said.category);
        }
        worst
    }

    /// What says that it is worse than it seems.
    fn believe_the_worse(&mut self) {
        let changes = self.worst() != Some(RiskCategory::Read);
        if let Some(words) = text::for_good(&self.tool.description).filter(|_| changes) {
            let said = Said {
                category: RiskCategory::Destructive,
                words: vec![words.to_owned()],
                is_weak: false,
            };
            self.find(EvidencePlace::Description, &said);
        }
        let hints = self.tool.hints;
        // Of what only reads, the protocol gives the other hint no meaning.
        let raised = match (hints.read_only, hints.destructive) {
            (Some(true), _) => None,
            (_, Some(true)) => Some((RiskCategory::Destructive, "destructiveHint: true")),
            (Some(false), _) => Some((RiskCategory::Write, "readOnlyHint: false")),
            _ => None,
        };
        let is_known = self.worst().is_some();
        // Of what nothing is known, that it changes something says too little.
        if let Some((category, words)) =
            raised.filter(|(category, _)| is_known || *category > RiskCategory::Unknown)
        {
            let said = Said {
                category,
                words: vec![words.to_owned()],
                is_weak: false,
            };
            self.find(EvidencePlace::Annotations, &said);
        }
        self.explain_by_actions();
    }

    /// What is said of the whole tool is said of every action, unless there is one
    /// that explains it.
    fn explain_by_actions(&mut self) {
        let Some(worst) = self.worst() else { return };
        if self.actions.iter().any(|action| action.category() >= worst) {
            return;
        }
        for action in &mut self.actions {
            action.raise(worst);
        }
    }

    fn close(mut self) -> Assessment {
        let worst = self.worst();
        let category = worst.unwrap_or(RiskCategory::Unknown);
        let is_worst = |finding: &&Finding| finding.evidence.category() == category;
        let mut places: Vec<&EvidencePlace> = Vec::new();
        for finding in self
            .findings
            .iter()
            .filter(is_worst)
            .filter(|finding| !finding.is_weak)
        {
            if !places.contains(&finding.evidence.place()) {
                places.push(finding.evidence.place());
            }
        }
        let listed = places
            .iter()
            .any(|place| matches!(place, EvidencePlace::Value(_)));
        let confidence = match places.len() {
            0 => Confidence::Low,
            1 if !listed => Confidence::Medium,
            _ => Confidence::High,
        };
        self.findings
            .sort_by_key(|finding| std::cmp::Reverse(finding.evidence.category()));
        let evidence = self.findings.into_iter().map(|finding| finding.evidence);
        let evidence = evidence.take(MOST_EVIDENCE);
        Assessment::new(category, confidence, evidence.collect(), self.actions)
    }
}
