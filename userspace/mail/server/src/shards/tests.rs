use std::path::Path;

use muralla_mail_directory::{Hidden, Options as DirectoryOptions};
use muralla_mail_envelope::Domain;

use super::*;
use crate::config::PacksConfig;

async fn shards(folder: &Path) -> Shards {
    let mut config = MailConfig::new(Domain::parse("mx.isp.example").unwrap());
    config.database = Hidden::new(folder.join("mail.db").display().to_string());
    config.packs = PacksConfig::Folder(folder.join("packs"));
    let location = config.location().unwrap();
    let directory = Directory::open(&location, DirectoryOptions::default()).await.unwrap();
    Shards::new(&config, directory, StoreOptions::default(), Options::new("mx")).unwrap()
}

/// Waits until it was asked whether it answers.
async fn settled(shard: &Arc<Shard>) {
    let asked = async {
        while shard.doubted.load(Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap();
}

#[tokio::test]
async fn one_trouble_is_no_outage() {
    let folder = tempfile::tempdir().unwrap();
    let shards = shards(folder.path()).await;
    let main = shards.main().unwrap();
    main.store().await.unwrap();
    main.failed(&"a connection broke");
    assert!(main.doubted.load(Relaxed));
    settled(&main).await;
    assert!(!main.is_away(), "it answers");
    // Nor are large messages, however many of them are slow.
    for _ in 0..10 * SLOW {
        main.took_too_long();
    }
    settled(&main).await;
    assert!(!main.is_away() && main.store().await.is_ok());
    shards.close().await;
}

#[tokio::test]
async fn what_can_not_be_opened_is_away_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let shards = shards(folder.path()).await;
    let packs = folder.path().join("packs");
    std::fs::write(&packs, "in the way").unwrap();
    let main = shards.main().unwrap();
    assert!(main.store().await.is_err());
    assert!(main.is_away());
    std::fs::remove_file(&packs).unwrap();
    tokio::time::timeout(Duration::from_secs(60), shards.back()).await.unwrap();
    assert!(!main.is_away() && main.store().await.is_ok());
    shards.close().await;
}
