//! Black-box tests of the relay in network namespaces.
