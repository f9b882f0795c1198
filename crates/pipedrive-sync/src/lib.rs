//! The program pipedrive: copies a whole Pipedrive account into a database.
#![forbid(unsafe_code)]
