title: One of two servers truncates and refuses TCP
why: RFC 7766 section 5 requires TCP, and firewalls don't know it.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
  ftp A 203.0.113.3
  news A 203.0.113.4
server ns1.example.test 10.0.1.1 serves example.test
  truncate_always
  tcp_refused
server ns2.example.test 10.0.1.2 serves example.test

---
ask www.example.test A
expect NOERROR secure
expect within 3s
ask mail.example.test A
expect NOERROR secure
