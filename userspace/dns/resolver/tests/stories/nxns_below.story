title: A delegation to servers that are delegated in the same way
why: NXNS with several levels multiplies (CVE-2020-8616): depth and number of questions are bounded together.

world usual
zone attacker.test
server ns.attacker.test 10.0.1.1 serves attacker.test
  nxns 20 attacker.test under attacker.test

---
ask one.attacker.test A
expect SERVFAIL
expect at most 64 queries
expect within 7s
