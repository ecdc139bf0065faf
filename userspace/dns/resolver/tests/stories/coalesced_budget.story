title: An attack through a wildcard of delegations
why: CVE-2020-8616: names that differ cost the same each; what is known about dead servers is used.

world usual
zone attacker.test
  *.sub NS ns.nowhere.attacker.test.
server ns.attacker.test 10.0.1.1 serves attacker.test
  nxns 30 attacker.test under sub.attacker.test

---
ask a.sub.attacker.test A
expect SERVFAIL
expect at most 64 queries
ask b.sub.attacker.test A
expect SERVFAIL
expect at most 64 queries
ask c.sub.attacker.test A
expect SERVFAIL
expect at most 64 queries
