//! What a plan allows.

/// How the token is sent; it decides the burst limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthKind {
    /// `x-api-token`.
    ApiToken,
    /// `Authorization: Bearer`.
    OAuth,
}

/// A plan of Pipedrive's. The figures are those of its page on rate limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Plan {
    /// Lite, formerly Essential.
    Lite,
    /// Growth, formerly Advanced.
    Growth,
    /// The former Professional.
    Professional,
    /// Premium.
    Premium,
    /// The former Power.
    Power,
    /// Ultimate, formerly Enterprise.
    Ultimate,
}

/// Requests per 2 seconds to search endpoints, on every plan.
pub(crate) const SEARCH_BURST: u64 = 10;

impl Plan {
    /// A plan by its present or former name, in small letters.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "lite" | "essential" => Self::Lite,
            "growth" | "advanced" => Self::Growth,
            "professional" => Self::Professional,
            "premium" => Self::Premium,
            "power" => Self::Power,
            "ultimate" | "enterprise" => Self::Ultimate,
            _ => return None,
        })
    }

    /// Requests per rolling window of 2 seconds.
    #[must_use]
    pub const fn burst(self, auth: AuthKind) -> u64 {
        let base = match self {
            Self::Lite => 20,
            Self::Growth => 40,
            Self::Professional => 80,
            Self::Premium | Self::Power => 100,
            Self::Ultimate => 120,
        };
        match auth {
            AuthKind::ApiToken => base,
            AuthKind::OAuth => 4 * base,
        }
    }

    /// Tokens a day for a company of so many seats, without top-ups.
    #[must_use]
    pub const fn daily_tokens(self, seats: u64) -> u64 {
        let factor = match self {
            Self::Lite => 1,
            Self::Growth => 2,
            Self::Professional => 3,
            Self::Premium | Self::Power => 5,
            Self::Ultimate => 7,
        };
        30_000 * factor * seats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_allow_what_pipedrive_publishes() {
        assert_eq!(Plan::Lite.burst(AuthKind::ApiToken), 20);
        assert_eq!(Plan::Premium.burst(AuthKind::OAuth), 400);
        assert_eq!(Plan::Professional.burst(AuthKind::OAuth), 320);
        assert_eq!(Plan::Growth.daily_tokens(10), 600_000);
        assert_eq!(Plan::named("enterprise"), Some(Plan::Ultimate));
        assert_eq!(Plan::named("free"), None);
    }
}
