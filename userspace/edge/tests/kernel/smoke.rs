use crate::fixture::Fixture;
#[test]
fn loads() {
    let f = Fixture::new(|_| {});
    let (verdict, out) = f.run(&[0u8; 64]);
    println!("{verdict} {}", out.len());
    println!("{:?}", f.wall.status());
    println!("insns {:?}", f.verified());
}
