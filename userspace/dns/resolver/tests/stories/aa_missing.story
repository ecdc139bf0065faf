title: A server that forgets to say that it is the authority
why: RFC 2181 section 5.4.1; some load balancers do so, and their zones resolve everywhere.

world usual
zone example.test
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  aa_missing

---
ask www.example.test A
expect NOERROR insecure
expect answer www.example.test A 203.0.113.1
