title: The DS record fits none of the zone's keys
why: RFC 4035 section 5.2: a key roll without telling the parent.

world usual
zone example.test signed ds=wrong
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect SERVFAIL bogus
expect ede 9
expect at most 40 queries
