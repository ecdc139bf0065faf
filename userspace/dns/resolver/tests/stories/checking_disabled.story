title: A client that validates by itself gets what is there
why: RFC 4035 section 3.2.2: CD=1 gives the data, and what others get stays what it was.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  bad_signature

---
ask www.example.test A cd
expect NOERROR
expect answer www.example.test A 203.0.113.1
ask www.example.test A
expect SERVFAIL bogus
ask www.example.test A cd
expect NOERROR
expect answer www.example.test A 203.0.113.1
