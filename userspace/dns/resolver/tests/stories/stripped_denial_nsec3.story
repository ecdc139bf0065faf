title: The proofs that something does not exist are stripped (NSEC3)
why: RFC 4035 section 5.4: NXDOMAIN without proof would let anybody delete names.

world usual
zone example.test nsec3
  www A 203.0.113.1
  *.wild A 203.0.113.2
  deep.ent A 203.0.113.3
  sub.www A 203.0.113.4
server ns1.example.test 10.0.1.1 serves example.test
  stripped_denial

---
ask none.example.test A
expect SERVFAIL bogus
expect ede 12
expect at most 40 queries
ask www.example.test MX
expect SERVFAIL bogus
ask x.wild.example.test A
expect SERVFAIL bogus
ask www.example.test A
expect NOERROR secure
ask none.example.test A cd
expect NXDOMAIN bogus
