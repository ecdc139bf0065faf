//! The DNS role: sockets, caches, and answers from the best place that has them.
