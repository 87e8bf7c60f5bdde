//! Filters as people write them.
//!
//! ```text
//!  formula  = term { "or" term }
//!  term     = factor { "and" factor }
//!  factor   = "not" factor | "(" formula ")" | test
//!  test     = [ "src" | "dst" ] ( "host" ADDRESS | "net" PREFIX | "port" NUMBER [ "-" NUMBER ] )
//!           | "tcp" | "udp" | "sctp" | "dccp", each followed by a test of a port, if wanted
//!           | "icmp" | "ip" | "ip6" | "proto" NUMBER
//!           | "eam" PREFIX | "direction" ( "v4_to_v6" | "v6_to_v4" )
//!           | "verdict" WORD | "reason" WORD | "in" PORT | "out" PORT
//! ```
//!
//! What enters is any text, what leaves is a [`Filter`] or an error that names the place in the text.

use std::net::IpAddr;

use dataplane::sink::filter::{End, Filter, MOST_NODES, Node, Test, TooLong};
use dataplane::table::routing::PortId;
use dataplane::verdict::{DropReason, PuntReason};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Bytes of a filter at most.
const LONGEST: usize = 1000;
/// Parentheses and negations inside one another at most.
const DEEPEST: u32 = 32;

const VERDICTS: [&str; 6] = ["translated", "hairpinned", "native", "icmp_error", "dropped", "punted"];

/// What words of a filter mean that the relay knows.
pub trait Names {
    /// The port of that name.
    fn port(&self, name: &str) -> Option<PortId>;
    /// The mapping that covers a prefix of either family: the longest, if there are several.
    fn eam(&self, prefix: IpNet) -> Option<(Ipv4Net, Ipv6Net)>;
}

/// What is wrong with a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}, at character {} of the filter `{text}`", column + 1)]
pub struct FilterError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
    /// The place, in characters from the start.
    pub column: usize,
    text: String,
}

/// Reads a filter. Without a word in it, it wants every packet.
///
/// # Errors
/// [`FilterError`] for the first mistake.
pub fn parse(text: &str, names: &dyn Names) -> Result<Filter, FilterError> {
    let whole = Token { at: 0, word: "" };
    let mut parser = Parser { text, tokens: Vec::new(), next: 0, filter: Filter::default(), names };
    if text.len() > LONGEST {
        let message = format!("the filter has {} bytes", text.len());
        return Err(parser.error(whole, message, &format!("shorten it to {LONGEST}")));
    }
    parser.tokens = tokens(text);
    if parser.tokens.is_empty() {
        return Ok(parser.filter);
    }
    parser.formula(0)?;
    match parser.peek() {
        None => Ok(parser.filter),
        Some(rest) => {
            let message = format!("{:?} is not expected here", rest.word);
            Err(parser.error(rest, message, "put `and` or `or` between two tests"))
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token<'t> {
    at: usize,
    word: &'t str,
}

/// Words, parentheses and exclamation marks.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = None;
    let ends = text.char_indices().chain([(text.len(), ' ')]);
    for (at, mark) in ends {
        let is_sign = matches!(mark, '(' | ')' | '!');
        if is_sign || mark.is_whitespace() {
            if let Some(start) = start.take() {
                tokens.push(Token { at: start, word: &text[start..at] });
            }
            if is_sign {
                tokens.push(Token { at, word: &text[at..=at] });
            }
        } else {
            start.get_or_insert(at);
        }
    }
    tokens
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token<'t>>,
    next: usize,
    filter: Filter,
    names: &'t dyn Names,
}

type Parsed<T = u8> = Result<T, FilterError>;

impl<'t> Parser<'t> {
    fn formula(&mut self, depth: u32) -> Parsed {
        let mut one = self.term(depth)?;
        while let Some(sign) = self.take(&["or", "||"]) {
            let other = self.term(depth)?;
            one = self.push(sign, Node::Or(one, other))?;
        }
        Ok(one)
    }

    fn term(&mut self, depth: u32) -> Parsed {
        let mut one = self.factor(depth)?;
        while let Some(sign) = self.take(&["and", "&&"]) {
            let other = self.factor(depth)?;
            one = self.push(sign, Node::And(one, other))?;
        }
        Ok(one)
    }

    fn factor(&mut self, depth: u32) -> Parsed {
        let token = self.word("a test, such as `host 192.0.2.1`")?;
        if depth > DEEPEST {
            return Err(self.error(
                token,
                "too many parentheses inside one another".to_owned(),
                "write it flatter",
            ));
        }
        match token.word {
            "not" | "!" => {
                let one = self.factor(depth + 1)?;
                self.push(token, Node::Not(one))
            }
            "(" => {
                let inside = self.formula(depth + 1)?;
                match self.take(&[")"]) {
                    Some(_) => Ok(inside),
                    None => Err(self.error(token, "this parenthesis is not closed".to_owned(), "add `)`")),
                }
            }
            _ => self.test(token),
        }
    }

    fn test(&mut self, token: Token<'t>) -> Parsed {
        let test = match token.word {
            "src" => return self.of_end(End::Source),
            "dst" => return self.of_end(End::Destination),
            "host" | "net" | "port" => self.end_test(token, End::Either)?,
            "tcp" => return self.transport(token, 6),
            "udp" => return self.transport(token, 17),
            "sctp" => return self.transport(token, 132),
            "dccp" => return self.transport(token, 33),
            "icmp" | "icmp6" => Test::Icmp,
            "ip" | "ip4" => Test::Version(4),
            "ip6" => Test::Version(6),
            "proto" => Test::Protocol(self.number(0, 255)?),
            "eam" => return self.eam(token),
            "direction" => self.direction()?,
            "verdict" => self.verdict()?,
            "reason" => self.reason()?,
            "in" => Test::In(self.port()?),
            "out" => Test::Out(self.port()?),
            word => return Err(self.unknown(token, word)),
        };
        self.push(token, Node::Test(test))
    }

    fn unknown(&self, token: Token<'t>, word: &str) -> FilterError {
        let remedy = if word.parse::<IpAddr>().is_ok() {
            format!("write `host {word}`")
        } else if word.parse::<IpNet>().is_ok() {
            format!("write `net {word}`")
        } else {
            "tests are host, net, port, tcp, udp, icmp, ip, ip6, proto, eam, direction, verdict, reason, in, out".to_owned()
        };
        self.error(token, format!("{word:?} is no test"), &remedy)
    }

    fn of_end(&mut self, end: End) -> Parsed {
        let token = self.word("`host`, `net` or `port`")?;
        let test = self.end_test(token, end)?;
        self.push(token, Node::Test(test))
    }

    fn end_test(&mut self, token: Token<'t>, end: End) -> Parsed<Test> {
        match token.word {
            "host" => {
                let value = self.word("an address")?;
                let address: IpAddr = self.read(value, "an address", "such as 192.0.2.1 or 2001:db8::1")?;
                Ok(Test::Net(end, address.into()))
            }
            "net" => {
                let value = self.word("a prefix")?;
                let net: IpNet = self.read(value, "a prefix", "such as 192.0.2.0/24 or 2001:db8::/32")?;
                Ok(Test::Net(end, net.trunc()))
            }
            "port" => self.ports(end),
            word => {
                let message = format!("{word:?} is no `host`, `net` or `port`");
                Err(self.error(token, message, "`src` and `dst` stand before one of these"))
            }
        }
    }

    fn ports(&mut self, end: End) -> Parsed<Test> {
        let value = self.word("a port")?;
        let (first, last) = value.word.split_once('-').unwrap_or((value.word, value.word));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Test::Ports(end, first, last)),
            _ => {
                let message = format!("{:?} is no port, nor a range of ports", value.word);
                Err(self.error(value, message, "such as 443 or 1024-65535"))
            }
        }
    }

    /// A protocol, and a test of its ports, if one follows.
    fn transport(&mut self, token: Token<'t>, number: u8) -> Parsed {
        let protocol = self.push(token, Node::Test(Test::Protocol(number)))?;
        let follows = |at: usize, words: &[&str]| {
            self.tokens.get(self.next + at).is_some_and(|token| words.contains(&token.word))
        };
        let with_ports = follows(0, &["port"]) || follows(0, &["src", "dst"]) && follows(1, &["port"]);
        if !with_ports {
            return Ok(protocol);
        }
        let next = self.word("a port")?;
        let port = self.test(next)?;
        self.push(token, Node::And(protocol, port))
    }

    fn eam(&mut self, token: Token<'t>) -> Parsed {
        let value = self.word("a prefix that is mapped")?;
        let net = value.word.parse::<IpNet>().or_else(|_| value.word.parse::<IpAddr>().map(IpNet::from));
        let net = net.map_err(|_| {
            let message = format!("{:?} is neither prefix nor address", value.word);
            self.error(value, message, "such as 192.0.2.1 or 2001:db8::1")
        })?;
        let Some((ipv4, ipv6)) = self.names.eam(net.trunc()) else {
            let message = format!("no mapping covers {}", value.word);
            return Err(self.error(value, message, "`borderctl eam list` shows the mappings"));
        };
        let one = self.push(token, Node::Test(Test::Net(End::Either, ipv4.into())))?;
        let other = self.push(token, Node::Test(Test::Net(End::Either, ipv6.into())))?;
        self.push(token, Node::Or(one, other))
    }

    fn direction(&mut self) -> Parsed<Test> {
        let value = self.word("a direction")?;
        match value.word {
            "v4_to_v6" => Ok(Test::ReceivedAs(4)),
            "v6_to_v4" => Ok(Test::ReceivedAs(6)),
            word => Err(self.error(value, format!("{word:?} is no direction"), "write v4_to_v6 or v6_to_v4")),
        }
    }

    fn verdict(&mut self) -> Parsed<Test> {
        let value = self.word("a verdict")?;
        let verdict = VERDICTS.iter().copied().find(|verdict| *verdict == value.word);
        verdict.map(Test::Verdict).ok_or_else(|| {
            let message = format!("{:?} is no verdict", value.word);
            self.error(value, message, &format!("verdicts are {}", VERDICTS.join(", ")))
        })
    }

    fn reason(&mut self) -> Parsed<Test> {
        let value = self.word("a reason")?;
        let dropped = DropReason::ALL.iter().find(|reason| reason.name() == value.word);
        let punted = PuntReason::ALL.iter().find(|reason| reason.name() == value.word);
        let test =
            dropped.map(|reason| Test::Dropped(*reason)).or(punted.map(|reason| Test::Punted(*reason)));
        test.ok_or_else(|| {
            let message = format!("{:?} is no reason", value.word);
            self.error(
                value,
                message,
                "`borderctl drops --all` shows those of drops, `borderctl counters` those of punts",
            )
        })
    }

    fn port(&mut self) -> Parsed<PortId> {
        let value = self.word("the name of a port")?;
        self.names.port(value.word).ok_or_else(|| {
            let message = format!("the relay has no port {:?}", value.word);
            self.error(value, message, "`borderctl ports` shows them")
        })
    }

    fn number(&mut self, least: u8, most: u8) -> Parsed<u8> {
        let value = self.word("a number")?;
        self.read(value, "a number of a protocol", &format!("give {least} to {most}"))
    }

    fn read<T: std::str::FromStr>(&self, token: Token<'t>, what: &str, remedy: &str) -> Parsed<T> {
        token.word.parse().map_err(|_| self.error(token, format!("{:?} is not {what}", token.word), remedy))
    }

    fn push(&mut self, token: Token<'t>, node: Node) -> Parsed {
        self.filter.push(node).map_err(|TooLong| {
            self.error(
                token,
                format!("the filter has more than {MOST_NODES} tests and connectives"),
                "shorten it",
            )
        })
    }

    fn peek(&self) -> Option<Token<'t>> {
        self.tokens.get(self.next).copied()
    }

    fn take(&mut self, words: &[&str]) -> Option<Token<'t>> {
        let token = self.peek().filter(|token| words.contains(&token.word))?;
        self.next += 1;
        Some(token)
    }

    fn word(&mut self, wanted: &str) -> Parsed<Token<'t>> {
        let Some(token) = self.peek() else {
            let end = Token { at: self.text.len(), word: "" };
            return Err(self.error(
                end,
                "the filter ends too early".to_owned(),
                &format!("here belongs {wanted}"),
            ));
        };
        self.next += 1;
        Ok(token)
    }

    fn error(&self, token: Token<'_>, message: String, remedy: &str) -> FilterError {
        let shown =
            |text: &str| text.chars().map(|mark| if mark.is_control() { ' ' } else { mark }).collect();
        let column = self.text.get(..token.at).map_or(0, |before| before.chars().count());
        let text: String = shown(self.text);
        let text = text.chars().take(LONGEST).collect();
        FilterError { message: shown(&message), remedy: remedy.to_owned(), column, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Lab;

    impl Names for Lab {
        fn port(&self, name: &str) -> Option<PortId> {
            ["v4", "v6"]
                .iter()
                .position(|port| *port == name)
                .map(|port| PortId(u16::try_from(port).unwrap()))
        }

        fn eam(&self, prefix: IpNet) -> Option<(Ipv4Net, Ipv6Net)> {
            let eam = ("192.0.2.1/32".parse().unwrap(), "2001:db8::1/128".parse().unwrap());
            [IpNet::V4(eam.0), IpNet::V6(eam.1)].contains(&prefix).then_some(eam)
        }
    }

    fn nodes(text: &str) -> Vec<Node> {
        parse(text, &Lab).unwrap_or_else(|error| panic!("{error}")).nodes().to_vec()
    }

    #[test]
    fn the_words_mean_what_they_say() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let host = Node::Test(Test::Net(End::Either, net("192.0.2.1/32")));
        let expected = [
            host,
            Node::Test(Test::Protocol(6)),
            Node::Test(Test::Ports(End::Either, 443, 443)),
            Node::And(1, 2),
            Node::And(0, 3),
        ];
        assert_eq!(nodes("host 192.0.2.1 and tcp port 443"), expected);
        assert_eq!(nodes("  "), []);
        for (text, test) in [
            ("src host 2001:db8::1", Test::Net(End::Source, net("2001:db8::1/128"))),
            ("dst net 192.0.2.77/24", Test::Net(End::Destination, net("192.0.2.0/24"))),
            ("dst port 1024-2000", Test::Ports(End::Destination, 1024, 2000)),
            ("icmp", Test::Icmp),
            ("ip6", Test::Version(6)),
            ("proto 47", Test::Protocol(47)),
            ("direction v6_to_v4", Test::ReceivedAs(6)),
            ("verdict icmp_error", Test::Verdict("icmp_error")),
            ("reason no_route", Test::Dropped(DropReason::NoRoute)),
            ("reason arp", Test::Punted(PuntReason::Arp)),
            ("in v4", Test::In(PortId(0))),
            ("out v6", Test::Out(PortId(1))),
        ] {
            assert_eq!(nodes(text), [Node::Test(test)], "{text}");
        }
        let mapped = [host, Node::Test(Test::Net(End::Either, net("2001:db8::1/128"))), Node::Or(0, 1)];
        assert_eq!(nodes("eam 2001:db8::1"), mapped);
    }

    #[test]
    fn and_binds_tighter_than_or_and_parentheses_bind_tightest() {
        let [tcp, udp, icmp] = [Test::Protocol(6), Test::Protocol(17), Test::Icmp].map(Node::Test);
        assert_eq!(nodes("tcp or udp and icmp"), [tcp, udp, icmp, Node::And(1, 2), Node::Or(0, 3)]);
        assert_eq!(nodes("(tcp || udp) && icmp"), [tcp, udp, Node::Or(0, 1), icmp, Node::And(2, 3)]);
        assert_eq!(nodes("not(tcp)or!udp"), [tcp, Node::Not(0), udp, Node::Not(2), Node::Or(1, 3)]);
    }

    #[test]
    fn mistakes_are_shown_at_their_place() {
        for (text, column, words) in [
            ("hst 192.0.2.1", 0, "is no test"),
            ("host 192.0.2.300", 5, "is not an address"),
            ("tcp and 192.0.2.1", 8, "host 192.0.2.1"),
            ("tcp and", 7, "ends too early"),
            ("(tcp or udp", 0, "not closed"),
            ("tcp udp", 4, "not expected"),
            ("tcp )", 4, "not expected"),
            ("port 70000", 5, "is no port"),
            ("port 9-1", 5, "is no port"),
            ("src tcp", 4, "no `host`"),
            ("verdict lost", 8, "translated"),
            ("reason why", 7, "is no reason"),
            ("in uplink", 3, "borderctl ports"),
            ("eam 192.0.2.9", 4, "no mapping covers"),
            ("direction up", 10, "v4_to_v6"),
            ("proto 256", 6, "0 to 255"),
            ("é hst", 0, "is no test"),
            ("tcp and é", 8, "is no test"),
        ] {
            let error = parse(text, &Lab).expect_err(text);
            let told = format!("{error}; {}", error.remedy);
            assert!(told.contains(words), "{text}: {told}");
            assert_eq!(error.column, column, "{text}: {told}");
            assert!(told.contains(&format!("at character {} of the filter", column + 1)), "{told}");
        }
        assert!(parse(&"(".repeat(40), &Lab).expect_err("too deep").message.contains("parentheses"));
        assert!(parse(&"not ".repeat(200), &Lab).is_err());
        assert!(
            parse(&["tcp"; 40].join(" or "), &Lab).expect_err("too long").message.contains("more than 64")
        );
        assert!(parse(&"x".repeat(1001), &Lab).expect_err("too long").message.contains("1001"));
    }

    const WORDS: [&str; 28] = [
        "host",
        "net",
        "port",
        "src",
        "dst",
        "tcp",
        "udp",
        "icmp",
        "ip",
        "ip6",
        "proto",
        "eam",
        "direction",
        "verdict",
        "reason",
        "in",
        "out",
        "and",
        "or",
        "not",
        "(",
        ")",
        "192.0.2.1",
        "2001:db8::/32",
        "443",
        "v4",
        "dropped",
        "v4_to_v6",
    ];

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,200}") {
            if let Err(error) = parse(&text, &Lab) {
                prop_assert!(error.column <= text.chars().count());
            }
        }

        #[test]
        fn no_order_of_words_is_too_odd(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..30)) {
            let text = words.join(" ");
            if let Err(error) = parse(&text, &Lab) {
                prop_assert!(error.column <= text.len() && error.to_string().contains("at character"));
            }
        }
    }
}
