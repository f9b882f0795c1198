use super::*;

/// What is said of one budget.
#[derive(Clone, Copy)]
struct Reading {
    budget: BudgetId,
    limit: Option<u64>,
    remaining: u64,
    reset: Option<Duration>,
    window: Option<Duration>,
    refuses: bool,
}

/// The readings of one response, at most one for each budget.
#[derive(Default)]
struct Readings([Option<Reading>; MAX_BUDGETS]);

impl Readings {
    /// Of two readings of one budget the one with fewer units left counts.
    fn add(&mut self, new: Reading) {
        if let Some(place) = self.0.get_mut(new.budget.index()) {
            let fewer = place.is_none_or(|old| new.remaining < old.remaining);
            *place = if fewer { Some(new) } else { *place };
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Reading> {
        self.0.iter_mut().flatten()
    }
}

type Items<'h> = [Option<Item<'h>>; MOST_ITEMS];

/// The items of a field, which may be sent in several lines. None if any line is
/// malformed, or if there are too many.
fn items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Items<'h> {
    let (mut items, mut found) = ([None; MOST_ITEMS], 0);
    for line in headers.get_all(name) {
        let Some(list) = List::new(line.as_bytes()) else { return [None; MOST_ITEMS] };
        for item in list {
            let Some(place) = items.get_mut(found) else { return [None; MOST_ITEMS] };
            *place = Some(item);
            found += 1;
        }
    }
    items
}

impl IetfDialect {
    fn budget(&self, name: Bare<'_>, alone: bool) -> Option<(BudgetId, QuotaUnit)> {
        let known = self.policies.iter().find(|policy| name.is(&policy.name));
        let other = self.default.filter(|_| alone).map(|budget| (budget, QuotaUnit::Requests));
        known.map(|policy| (policy.budget, policy.unit)).or(other)
    }

    fn is_ours(&self, key: Option<Bare<'_>>) -> bool {
        match (&self.partition, key) {
            (Some(ours), Some(Bare::Bytes(key))) => unpadded(key) == &**ours,
            (Some(_), Some(_)) => false,
            _ => true,
        }
    }

    fn seconds(&self, said: Option<Bare<'_>>) -> Option<Duration> {
        let time = Duration::from_secs(said?.count()?);
        Some(time).filter(|&time| self.belief.allows(time))
    }

    /// The fields of draft 11.
    fn fields(&self, headers: &HeaderMap, readings: &mut Readings) {
        let limits = items(headers, &RATE_LIMIT);
        if limits[0].is_none() {
            return;
        }
        let policies = items(headers, &POLICY);
        let alone = limits[1].is_none();
        for item in limits.iter().flatten() {
            let named = matches!(item.bare, Bare::String(_) | Bare::Token(_));
            let remaining = item.get("r").and_then(Bare::count);
            let budget = self.budget(item.bare, alone).filter(|_| named);
            let (Some((budget, unit)), Some(remaining)) = (budget, remaining) else { continue };
            let key = item.get("pk");
            let policy = policies.iter().flatten().find(|policy| {
                let partition = policy.get("pk");
                let same = key.is_none() || partition.is_none() || key == partition;
                same && same_name(policy.bare, item.bare)
            });
            let unit = policy.is_none_or(|policy| unit.is(policy.get("qu")));
            if unit && self.is_ours(key) {
                let policy = |name| policy.and_then(|policy| policy.get(name));
                readings.add(Reading {
                    budget,
                    limit: policy("q").and_then(Bare::count),
                    remaining,
                    reset: self.seconds(item.get("t")),
                    window: self.seconds(policy("w")),
                    refuses: false,
                });
            }
        }
    }

    /// What came before: one budget, without a name.
    fn older(&self, headers: &HeaderMap, readings: &mut Readings) {
        let Some(budget) = self.default else { return };
        let (limit, remaining, reset);
        if let Some(text) = one(headers, &RATE_LIMIT) {
            let number = |name| fields::key(text, name).and_then(Bare::count);
            (limit, remaining) = (number("limit"), number("remaining"));
            reset = number("reset");
        } else {
            // `RateLimit-Limit: 100, 100;w=60` tells the policies too.
            let text = one(headers, &LIMIT).unwrap_or_default();
            let end = text.iter().position(|b| matches!(b, b',' | b';')).unwrap_or(text.len());
            limit = digits(text[..end].trim_ascii());
            remaining = count(headers, &REMAINING);
            reset = one(headers, &RESET).and_then(Number::parse).map(Number::up);
        }
        let Some(remaining) = remaining else { return };
        let reset = reset.map(Duration::from_secs).filter(|&reset| self.belief.allows(reset));
        readings.add(Reading { budget, limit, remaining, reset, window: None, refuses: false });
    }

    /// Marks the budgets that refuse.
    fn mark(&self, text: &[u8], readings: &mut Readings) {
        let violated = json::member(text, "violated-policies").unwrap_or_default();
        for name in json::elements(violated).take(MOST_ITEMS) {
            let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\""));
            let Some((budget, _)) = self.budget(Bare::String(name.unwrap_or_default()), false)
            else {
                continue;
            };
            readings.refuses(budget);
        }
        let named = readings.all().any(|reading| reading.refuses);
        let alone = readings.all().count() == 1;
        if !named {
            readings.all().for_each(|reading| reading.refuses = alone || reading.remaining == 0);
        }
        let found = readings.all().any(|reading| reading.refuses);
        if let (false, Some(budget)) = (found, self.default) {
            readings.refuses(budget);
        }
    }

    fn refusal(&self, reading: &Reading, asked: Option<Duration>) -> Observation {
        let budget = reading.budget;
        let retry_after = asked.or(some_time(reading.reset));
        let long = |time: Option<Duration>| time.is_some_and(|time| time >= self.long);
        if long(retry_after) || long(reading.window) {
            Observation::Exhausted { budget, retry_after }
        } else {
            Observation::Burst { budget, retry_after }
        }
    }
}

impl Readings {
    fn refuses(&mut self, budget: BudgetId) {
        let unread =
            Reading { budget, limit: None, remaining: 0, reset: None, window: None, refuses: true };
        if let Some(place) = self.0.get_mut(budget.index()) {
            place.get_or_insert(unread).refuses = true;
        }
    }
}

impl HttpDialect for IetfDialect {
    fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        text: &[u8],
        clock: &dyn WallClock,
    ) -> Observations {
        let mut readings = Readings::default();
        if count(headers, &header::AGE).is_none_or(|age| age == 0) {
            self.fields(headers, &mut readings);
            if readings.all().next().is_none() {
                self.older(headers, &mut readings);
            }
        }
        let mut said = Observations::none();
        let mut asked = None;
        if status == StatusCode::TOO_MANY_REQUESTS {
            asked = some_time(self.belief.retry_after(headers, clock));
            let kind = json::string(text, &["type"]).unwrap_or_default();
            if contains(kind, b"abnormal-usage-detected") {
                said.push(closed(asked.unwrap_or(LONG)));
            } else {
                self.mark(text, &mut readings);
                let found = readings.all().any(|reading| reading.refuses);
                if let (false, Some(pause)) = (found, asked) {
                    said.push(closed(pause));
                }
            }
        } else {
            said = unavailable(status, headers, clock, self.belief);
        }
        for reading in readings.all() {
            let Reading { budget, limit, remaining, reset, .. } = *reading;
            said.push(if reading.refuses {
                self.refusal(reading, asked)
            } else {
                Observation::Level { budget, limit, remaining, reset }
            });
        }
        said
    }
}

fn same_name(one: Bare<'_>, other: Bare<'_>) -> bool {
    match (one, other) {
        (Bare::String(one) | Bare::Token(one), Bare::String(other) | Bare::Token(other)) => {
            one == other
        }
        _ => false,
    }
}

fn unpadded(base64: &[u8]) -> &[u8] {
    let end = base64.iter().rposition(|&b| b != b'=').map_or(0, |last| last + 1);
    &base64[..end]
}

/// In base64, without padding.
pub(super) fn base64(bytes: &[u8]) -> Box<[u8]> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = move |place: u32| DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
        (0..=chunk.len() as u32).map(digit)
    });
    digits.collect()
}
