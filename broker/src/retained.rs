//! Which retained messages match a filter, found over topics in order, in RAM or on disk alike.
//!
//! Topics are ordered by [`key_of_topic`]: the name with each `/` as a zero byte. No topic holds U+0000
//! [MQTT-1.5.4-2], and zero sorts before everything, so that all topics below a level lie side by side, in
//! level order, behind the topic of that level itself.
//!
//! [`match_retained`] is a skip-scan over a [`TopicCursor`]: for the topic at hand a pure function
//! (`Filter::judge`) says either that it matches or what is the first place behind it where a match can be. A
//! literal level is one seek, `+` goes from child to child, `#` runs through its range. So the cost follows
//! the matches and the children passed on the way to them, never the number of retained messages; and as each
//! step needs only the place it starts from, a lookup is cut into pages that hold no lock and no cursor in
//! between.
//!
//! Invariants: every seek goes forward, so that a lookup ends; a topic that is there for the whole time of a
//! lookup is found exactly once, whatever comes and goes around it.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::convert::Infallible;
use std::ops::Bound;

use smallvec::SmallVec;

/// Sorts before every byte of a level and stands for `/`.
const SEPARATOR: u8 = 0;

/// The first byte that sorts after a separator: a level with it added lies behind that level and everything
/// below it.
const AFTER_SEPARATOR: u8 = 1;

/// Topics that a wildcard in the first level does not match begin with this [MQTT-4.7.2-1].
const SYSTEM: u8 = b'$';

/// The key that `topic` is ordered by.
pub fn key_of_topic(topic: &str) -> Vec<u8> {
    topic.bytes().map(|byte| if byte == b'/' { SEPARATOR } else { byte }).collect()
}

/// The topic of `key`; `None` if it is the key of no topic.
pub fn topic_of_key(key: &[u8]) -> Option<String> {
    let name = key.iter().map(|byte| if *byte == SEPARATOR { b'/' } else { *byte }).collect();
    String::from_utf8(name).ok().filter(|_| !key.contains(&b'/'))
}

/// A position in the retained topics, ordered by key. What a store of retained messages provides.
pub trait TopicCursor {
    /// The retained message or a handle to it.
    type Value;
    /// What a read can fail with.
    type Error;

    /// Moves to the first topic whose key is `from` or behind it.
    fn seek(&mut self, from: &[u8]) -> Result<(), Self::Error>;

    /// Moves to the next topic. Called only where there is a [`TopicCursor::key`].
    fn advance(&mut self) -> Result<(), Self::Error>;

    /// The key of the topic at hand; `None` behind the last one.
    fn key(&self) -> Option<&[u8]>;

    /// The value of the topic at hand. Called only for what matches, so that what is passed over is not read.
    fn value(&self) -> Result<Self::Value, Self::Error>;

    /// Bytes that `value` takes in a page, for [`PageLimits::bytes`].
    fn weight(&self, value: &Self::Value) -> usize;
}

/// When a page ends. Each is at least 1 in effect, so that every page gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// Messages.
    pub items: usize,
    /// Bytes of names and values; the message that goes beyond is the page's last.
    pub bytes: usize,
    /// Topics looked at, matching or not: what bounds the time of a page that finds little.
    pub steps: usize,
}

impl Default for PageLimits {
    /// 256 messages, 1 MiB, 4,096 topics looked at: about a millisecond in RAM.
    fn default() -> Self {
        Self { items: 256, bytes: 1024 * 1024, steps: 4096 }
    }
}

/// Where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume(Vec<u8>);

/// Part of the retained messages that match a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<V> {
    /// Topic and value, in key order. Empty, with `resume`, if the page's steps found nothing yet.
    pub items: Vec<(String, V)>,
    /// `None` if this was the last page. A page that its limits ended has one, even if nothing more will
    /// match.
    pub resume: Option<Resume>,
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RetainedError<E> {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] E),
    /// The store holds something that no topic maps to.
    #[error("the store of retained messages holds a key that is no topic name: {}", .0.escape_ascii())]
    Key(Vec<u8>),
}

/// The retained messages that match `filter`, which must be valid, one page of them: the first one, or the
/// one that begins where another page ended.
pub fn match_retained<C: TopicCursor>(
    cursor: &mut C,
    filter: &str,
    from: Option<&Resume>,
    limits: PageLimits,
) -> Result<Page<C::Value>, RetainedError<C::Error>> {
    let filter = Filter::new(filter);
    let mut page = Page { items: Vec::new(), resume: None };
    let (mut bytes, mut steps) = (0, 0);
    let mut target = match from {
        Some(Resume(from)) => from.clone(),
        None => filter.first(),
    };
    cursor.seek(&target)?;
    while let Some(key) = cursor.key() {
        steps += 1;
        match filter.judge(key, &mut target) {
            Verdict::Match => {
                let topic = topic_of_key(key).ok_or_else(|| RetainedError::Key(key.to_vec()))?;
                let value = cursor.value()?;
                bytes += topic.len() + cursor.weight(&value);
                if page.items.len() + 1 >= limits.items || bytes >= limits.bytes || steps >= limits.steps {
                    // The first key behind another is that key and a zero byte.
                    page.resume = Some(Resume([key, &[SEPARATOR]].concat()));
                    page.items.push((topic, value));
                    break;
                }
                page.items.push((topic, value));
                cursor.advance()?;
            }
            Verdict::Seek if steps >= limits.steps => {
                page.resume = Some(Resume(target));
                break;
            }
            Verdict::Seek => cursor.seek(&target)?,
            Verdict::End => break,
        }
    }
    Ok(page)
}

/// Whether the topic at hand matches, and if not, where to look next.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Match,
    /// The target is behind the key, and no key between them matches.
    Seek,
    /// Neither the key nor any behind it matches.
    End,
}

enum Level<'a> {
    Literal(&'a [u8]),
    Plus,
}

struct Filter<'a> {
    levels: SmallVec<[Level<'a>; 8]>,
    /// The filter ends with `#`, which is not among the levels.
    rest: bool,
}

impl<'a> Filter<'a> {
    fn new(filter: &'a str) -> Self {
        let mut levels: SmallVec<_> = filter
            .split('/')
            .map(|level| if level == "+" { Level::Plus } else { Level::Literal(level.as_bytes()) })
            .collect();
        let rest = filter == "#" || filter.ends_with("/#");
        if rest {
            levels.pop();
        }
        Self { levels, rest }
    }

    /// The lowest key that can match.
    fn first(&self) -> Vec<u8> {
        let mut key = Vec::new();
        self.complete(0, &mut key);
        key
    }

    /// Appends the lowest continuation that can match from level `from` on: the literals, and nothing for
    /// each `+`.
    fn complete(&self, from: usize, key: &mut Vec<u8>) {
        for (at, level) in self.levels.iter().enumerate().skip(from) {
            if at > 0 {
                key.push(SEPARATOR);
            }
            if let Level::Literal(literal) = level {
                key.extend_from_slice(literal);
            }
        }
    }

    /// Judges `key`; for [`Verdict::Seek`] leaves in `target` the lowest key behind it that can match.
    fn judge(&self, key: &[u8], target: &mut Vec<u8>) -> Verdict {
        let wildcard_first = !matches!(self.levels.first(), Some(Level::Literal(_)));
        if wildcard_first && key.first() == Some(&SYSTEM) {
            target.clear();
            target.push(SYSTEM + 1);
            return Verdict::Seek;
        }
        // Where the last level that a `+` matched ends in the key: the next candidate may have another one
        // there.
        let mut last_plus = None;
        // Where the current level of the key begins; `None` if it has no more.
        let mut start = Some(0);
        for (at, level) in self.levels.iter().enumerate() {
            let Some(begin) = start else {
                // The key is an ancestor of what can match.
                target.clear();
                target.extend_from_slice(key);
                self.complete(at, target);
                return Verdict::Seek;
            };
            let end = memchr::memchr(SEPARATOR, &key[begin..]).map_or(key.len(), |length| begin + length);
            match level {
                Level::Plus => last_plus = Some(end),
                Level::Literal(literal) => match key[begin..end].cmp(literal) {
                    std::cmp::Ordering::Equal => {}
                    std::cmp::Ordering::Less => {
                        target.clear();
                        target.extend_from_slice(&key[..begin.saturating_sub(1)]);
                        self.complete(at, target);
                        return Verdict::Seek;
                    }
                    std::cmp::Ordering::Greater => return next_sibling(key, last_plus, target),
                },
            }
            start = (end < key.len()).then_some(end + 1);
        }
        if self.rest || start.is_none() { Verdict::Match } else { next_sibling(key, last_plus, target) }
    }
}

/// Nothing more can match with the levels that the key has up to `end`: on behind all of them, or to the end
/// without a `+`.
fn next_sibling(key: &[u8], end: Option<usize>, target: &mut Vec<u8>) -> Verdict {
    let Some(end) = end else { return Verdict::End };
    target.clear();
    target.extend_from_slice(&key[..end]);
    target.push(AFTER_SEPARATOR);
    Verdict::Seek
}

/// Retained topics in RAM.
#[derive(Clone, Debug)]
pub struct RamTopics<V> {
    topics: BTreeMap<Vec<u8>, V>,
    weigh: fn(&V) -> usize,
}

impl<V> RamTopics<V> {
    /// None yet. `weigh` says how many bytes a value takes in a page.
    pub fn new(weigh: fn(&V) -> usize) -> Self {
        Self { topics: BTreeMap::new(), weigh }
    }

    /// Retains `value` at `topic` and returns what it replaces [MQTT-3.3.1-5].
    pub fn insert(&mut self, topic: &str, value: V) -> Option<V> {
        self.topics.insert(key_of_topic(topic), value)
    }

    /// Forgets what is retained at `topic`, as an empty payload asks [MQTT-3.3.1-6], and returns it.
    pub fn remove(&mut self, topic: &str) -> Option<V> {
        self.topics.remove(key_of_topic(topic).as_slice())
    }

    /// What is retained at `topic`.
    pub fn get(&self, topic: &str) -> Option<&V> {
        self.topics.get(key_of_topic(topic).as_slice())
    }

    /// All values, by topic in the order of [`key_of_topic`].
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.topics.values()
    }

    /// Retained messages.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether nothing is retained.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// A cursor for [`match_retained`].
    pub fn cursor(&self) -> RamCursor<'_, V> {
        RamCursor { of: self, ahead: self.topics.range::<[u8], _>(..), here: None }
    }
}

/// A position in [`RamTopics`], at none until the first seek.
pub struct RamCursor<'a, V> {
    of: &'a RamTopics<V>,
    ahead: Range<'a, Vec<u8>, V>,
    here: Option<(&'a Vec<u8>, &'a V)>,
}

impl<V: Clone> TopicCursor for RamCursor<'_, V> {
    type Value = V;
    type Error = Infallible;

    fn seek(&mut self, from: &[u8]) -> Result<(), Infallible> {
        self.ahead = self.of.topics.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        self.advance()
    }

    fn advance(&mut self) -> Result<(), Infallible> {
        self.here = self.ahead.next();
        Ok(())
    }

    fn key(&self) -> Option<&[u8]> {
        self.here.map(|(key, _)| key.as_slice())
    }

    fn value(&self) -> Result<V, Infallible> {
        let (_, value) = self.here.expect("a value is asked for only where there is a key");
        Ok(value.clone())
    }

    fn weight(&self, value: &V) -> usize {
        (self.of.weigh)(value)
    }
}

#[cfg(test)]
mod tests;
