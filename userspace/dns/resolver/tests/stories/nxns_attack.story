title: A delegation to fifty servers of somebody else
why: NXNSAttack (CVE-2020-8616, CVE-2020-12662): one question of the attacker must not become hundreds for the victim.

world usual
zone attacker.test
zone victim.test signed
  www A 203.0.113.1
server ns.attacker.test 10.0.1.1 serves attacker.test
  nxns 50 victim.test under attacker.test
server ns.victim.test 10.0.1.2 serves victim.test

---
ask one.attacker.test A
expect SERVFAIL
expect at most 40 queries
expect within 7s
ask two.attacker.test A
expect SERVFAIL
expect at most 40 queries
ask www.victim.test A
expect NOERROR secure
