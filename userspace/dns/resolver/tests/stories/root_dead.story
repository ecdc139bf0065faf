title: The root is dead, and what is known goes on
why: Delegations are kept: an outage above does not matter as long as they live.

world usual
zone example.test signed
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure
server a.root dies
server ns.test dies
ask mail.example.test A
expect NXDOMAIN secure
expect within 1s
