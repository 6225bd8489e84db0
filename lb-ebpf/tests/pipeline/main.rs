//! The pipeline as a library, run over ordinary memory: nothing here needs the kernel.

mod against_the_oracle;
mod asked;
mod bytes;
mod callers;
mod cases;
mod collisions;
mod conformance;
mod corpus;
mod day_one;
mod edges;
mod flood;
mod full_nat;
mod hostile;
mod one_server;
mod oracle;
mod plain;
mod quic;
mod scheduling;
mod seen;
mod settling;
mod too_big;
mod translation;
mod ways_back;
