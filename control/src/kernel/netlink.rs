//! rtnetlink, as little of it as the relay needs: sockets, requests, and messages turned into [`super::event::Event`]s.
//!
//! Why not a netlink crate: the published ones fail a whole message when a kernel newer than they are has grown
//! an attribute nobody here reads, know no nexthop objects, and allocate once per attribute, which a full BGP
//! table pays a million times. What is read here is a handful of attributes; all others are stepped over.

pub(super) mod attribute;
pub(super) mod decode;
pub(super) mod dump;
pub(super) mod neighbor_table;
pub(super) mod request;
pub(super) mod socket;
