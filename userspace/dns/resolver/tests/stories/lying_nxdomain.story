title: NXDOMAIN for a name that the proof shows to exist
why: RFC 4035 section 5.4: the NSEC record that comes with it says the contrary.

world usual
zone example.test signed
  www A 203.0.113.1
  *.wild A 203.0.113.2
  deep.ent A 203.0.113.3
  sub.www A 203.0.113.4
server ns1.example.test 10.0.1.1 serves example.test
  nodata_for_ent

---
ask ent.example.test A
expect SERVFAIL bogus
