title: A name is found from the root down, and validated
why: RFC 1034 section 5.3.3 and RFC 4035 section 5: the way of every question.

world usual
zone example.test signed
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure
expect answer www.example.test A 203.0.113.1
expect no ede
expect at most 14 queries
expect within 500ms
ask WWW.Example.TEST A
expect NOERROR secure
expect no queries
ask www.example.test AAAA
expect NOERROR secure
expect no answer
expect authority example.test SOA
expect exactly 1 query
