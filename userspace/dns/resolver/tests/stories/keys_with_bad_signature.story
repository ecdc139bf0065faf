title: The zone's keys are not signed by the key that the parent knows
why: RFC 4035 section 5.3: nothing below can be proven.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  bad_signature for example.test type DNSKEY

---
ask www.example.test A
expect SERVFAIL bogus
ask www.example.test A cd
expect NOERROR
expect answer www.example.test A 203.0.113.1
