title: What does not exist is remembered as long as the SOA record says
why: RFC 2308 section 5.

world usual
zone example.test signed negative-ttl=60
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask none.example.test A
expect NXDOMAIN secure
expect ttl at most 60
time passes 30s
ask none.example.test A
expect NXDOMAIN secure
expect no queries
time passes 31s
ask none.example.test A
expect NXDOMAIN secure
expect at least 1 queries
