title: A signature ends before the time to live does
why: RFC 4035 section 5.3.3: a validated record lives no longer than its signature.

world usual
zone example.test inception=1799900000 expires=1800000600 ttl=86400
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure
expect ttl at most 600
time passes 11m
ask www.example.test A
expect SERVFAIL bogus
expect ede 7
