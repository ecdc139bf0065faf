title: A wildcard's answer for a name that exists
why: RFC 4035 section 5.3.4: an expansion needs the proof that nothing closer exists; here a server gives the record of another name.

world usual
zone example.test signed
  *.wild A 203.0.113.2
  real.wild A 203.0.113.3
server ns1.example.test 10.0.1.1 serves example.test
  stripped_denial

---
ask x.wild.example.test A
expect SERVFAIL bogus
ask real.wild.example.test A
expect NOERROR secure
