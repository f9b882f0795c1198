//! Tower middleware that spends budgets: weighted, several at once, corrected by what the server says.
#![forbid(unsafe_code)]
