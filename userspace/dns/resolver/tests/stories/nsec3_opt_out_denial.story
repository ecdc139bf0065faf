title: NSEC3 with opt-out proves less
why: RFC 5155 section 9.2: a name error under opt-out does not prove that no unsigned delegation is there.

world usual
zone example.test nsec3 opt-out
  www A 203.0.113.1
  *.wild A 203.0.113.2
  deep.ent A 203.0.113.3
  sub.www A 203.0.113.4
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure
ask www.example.test MX
expect NOERROR secure
expect no answer
ask none.example.test A
expect NXDOMAIN insecure
