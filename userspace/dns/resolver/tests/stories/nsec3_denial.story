title: What does not exist is proven with NSEC3
why: RFC 5155 section 8: names, types, empty non-terminals and wildcards.

world usual
zone example.test nsec3 iterations=5 salt=abcd
  www A 203.0.113.1
  *.wild A 203.0.113.2
  deep.ent A 203.0.113.3
  sub.www A 203.0.113.4
server ns1.example.test 10.0.1.1 serves example.test

---
ask none.example.test A
expect NXDOMAIN secure
expect authority example.test SOA
ask a.b.c.none.example.test A
expect NXDOMAIN secure
ask www.example.test MX
expect NOERROR secure
expect no answer
ask ent.example.test A
expect NOERROR secure
expect no answer
ask deep.ent.example.test A
expect NOERROR secure
ask x.wild.example.test A
expect NOERROR secure
expect answer x.wild.example.test A 203.0.113.2
ask y.x.wild.example.test A
expect NOERROR secure
expect answer y.x.wild.example.test A 203.0.113.2
ask x.wild.example.test MX
expect NOERROR secure
expect no answer
ask none.deep.ent.example.test A
expect NXDOMAIN secure
