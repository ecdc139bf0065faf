title: A server says NXDOMAIN for a name that has others below it
why: RFC 9156 section 3, RFC 8020: some servers deny empty non-terminals; in an unsigned zone the whole name is asked all the same.

world usual
zone example.test
  www.deep.ent A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
  nodata_for_ent

---
ask www.deep.ent.example.test A
expect NOERROR insecure
expect answer www.deep.ent.example.test A 203.0.113.1
