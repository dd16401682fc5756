//! Bugs planted one after the other, each of which the oracle must catch: what it does not catch, it does not prove.
//!
//! Where one check stands behind another, both are broken together; the plant says so. `KEHA_PLANT` (part of a name) tries
//! some alone.

mod document;

use super::judged;
use super::{
    Verdict, age_tests, crash_tests, cut_tests, damage_tests, erase_beside_tests, erase_fault_tests,
    erase_left_tests, erase_tests, fault_tests, footer_tests, grow_tests, grown_tests, hold_doubt_tests,
    hold_fault_tests, hold_tests, hostile_tests, kept_tests, known_row_tests, lap_tests, lost_row_tests,
    memory_tests, metadata_tests, misplaced_tests, nth_tests, overwriting_tests, reader_tests,
    renewed_cut_tests, renewed_tests, repair_doubt_tests, repair_tests, retention_tests, scrub_tests,
    sector_tests, sequence_tests, session_tests, stale_tests, swap_tests, words,
};
use crate::planted::{Bug, with};
use document::{TABLE, TABLE_HEAD, document_head, name_of};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A scenario of the proof and the seeds that are tried.
struct Scenario {
    name: &'static str,
    run: fn(u64) -> Verdict<u64>,
    seeds: std::ops::Range<u64>,
}

const fn scenario(name: &'static str, run: fn(u64) -> Verdict<u64>, seeds: std::ops::Range<u64>) -> Scenario {
    Scenario { name, run, seeds }
}

fn nth(which: u64) -> Verdict<u64> {
    nth_tests::every_operation_fails(which as usize, false)
}

const EVENTS: Scenario = scenario("every event", crash_tests::every_event, 1500..1504);
const CUTS: Scenario = scenario("power cuts", crash_tests::power_cuts, 1000..1025);
const RESUMED: Scenario =
    scenario("resumed beside a neighbour", crash_tests::resumed_beside_a_neighbour, 1800..1801);
const IDLE: Scenario = scenario("an idle writer", crash_tests::idle_writer, 1900..1902);
const TORN: Scenario = scenario("torn pages", crash_tests::torn_pages, 1700..1701);
const SUFFIXES: Scenario = scenario("discarded suffixes", crash_tests::discarded_suffixes, 1600..1604);
const SEQUENCES: Scenario = scenario("sequences", sequence_tests::some_sequences, 0..1);
const LAPS: Scenario = scenario("laps", lap_tests::laps, 5100..5104);
const NTH: Scenario = scenario("every operation fails", nth, 0..36);
const FAILING: Scenario = scenario("failing I/O", fault_tests::failing_io, 2000..2006);
const MOVED_SYNCS: Scenario = scenario("moved sync samples", fault_tests::moved_syncs, 2200..2202);
const READS: Scenario = scenario("failing reads", |seed| fault_tests::failing_reads(seed, false), 2400..2401);
const PLACES: Scenario = scenario("bad places", fault_tests::bad_places, 2100..2106);
const BYTES: Scenario = scenario("changed bytes", damage_tests::changed_bytes, 3000..3002);
const LOST: Scenario = scenario("lost metadata", hostile_tests::lost_metadata, 4200..4206);
const LIES: Scenario = scenario("lying disk", hostile_tests::lying_disk, 4300..4301);
const OUTDATED: Scenario = scenario("outdated table", stale_tests::outdated_table, 4400..4402);
const COPIES: Scenario = scenario("damaged copies", stale_tests::damaged_copies, 4500..4501);
const PASSED: Scenario = scenario("passed reader", reader_tests::passed_reader, 4600..4760);
const KEPT: Scenario = scenario("kept, then erased and overwritten", kept_tests::of_what_goes, 8400..8404);
const FOOTERS: Scenario = scenario("footers that are kept", footer_tests::of_what_goes, 9800..9802);

const HELD_LAPS: Scenario = scenario("holds over laps", hold_tests::over_laps, 7000..7016);
const HELD_GRANTS: Scenario = scenario("holds of granted blocks", hold_tests::of_granted_blocks, 7100..7112);
const HELD_EVENTS: Scenario = scenario("holds, every event", hold_tests::every_event, 7200..7201);
const HELD_RANDOM: Scenario = scenario("holds at random", hold_tests::at_random, 7300..7340);

const SESSIONS: Scenario = scenario("sessions", session_tests::in_one_copy, 7900..7901);

const HELD_LOST: Scenario = scenario("a lost hold", hold_doubt_tests::lost_hold, 7820..7824);

const QUOTAS: Scenario = scenario("quotas", retention_tests::quotas, 8000..8003);
const YOUNG: Scenario = scenario("minimum ages", retention_tests::minimum_ages, 8100..8103);
const OLDER: Scenario = scenario("older copies of metadata", swap_tests::older_metadata, 8900..8904);
const SECTORS: Scenario = scenario("table sectors of another time", swap_tests::stale_sectors, 8700..8702);
const NAMELESS: Scenario = scenario("no directory", cut_tests::no_directory, 8300..8301);

const REPAIR_TAKES: Scenario = scenario("repair takes nothing", repair_tests::takes_nothing, 9600..9602);
const REPAIRED: Scenario = scenario("repair", every_repair, 9000..9002);
const CUT_SHORT: Scenario =
    scenario("cut short without a superblock", repair_doubt_tests::cut_without_superblock, 9700..9701);
const REPAIR_READS: Scenario =
    scenario("failing reads of a repair", repair_doubt_tests::failing_reads, 9720..9721);
const EPOCHS: Scenario = scenario("epochs without a log", repair_doubt_tests::epochs_without_log, 9770..9771);
const HOLES: Scenario =
    scenario("holes in the directory", repair_doubt_tests::holes_in_directory, 9780..9782);
const ROTTEN: Scenario = scenario("rotten without a log", known_row_tests::rotten_without_log, 9800..9801);
const UNREADABLE: Scenario = scenario("unreadable headers", known_row_tests::unreadable_headers, 9810..9811);
const SESSION_BEHIND: Scenario = scenario("a session in two states", session_tests::left_behind, 7940..7941);
const REPAIR_ERASES: Scenario =
    scenario("repairing beside an erasure", erase_tests::repaired_meanwhile, 8950..8951);
const FORGED_ROWS: Scenario = scenario("forged rows", known_row_tests::forged_rows, 9840..9841);
const FORGED_TRAILERS: Scenario = scenario("forged trailers", known_row_tests::forged_trailers, 9850..9851);
const STALE_ERASED: Scenario =
    scenario("a stale block put back", known_row_tests::stale_block_put_back, 9820..9821);
const GIVEN_UP: Scenario = scenario("given up stays so", repair_tests::given_up_stays, 9300..9302);
const REPAIRED_ROWS: Scenario = scenario("repair of outdated metadata", repair_tests::outdated, 9200..9202);

fn every_repair(seed: u64) -> Verdict<u64> {
    repair_tests::lost_descriptions(seed, 2)
}
const METADATA: Scenario = scenario("unwritable metadata", metadata_tests::unwritable_metadata, 8000..8001);

const FOREIGN: Scenario = scenario("foreign blocks", stale_tests::foreign_blocks, 4700..4702);
const COPIES_REFUSED: Scenario = scenario("unwritable copies", metadata_tests::unwritable_copies, 8200..8201);
const ONE_DIRECTORY: Scenario =
    scenario("a directory in one place", metadata_tests::directory_in_one_place, 8250..8251);
const HELD_REFUSED: Scenario =
    scenario("a growing hold in a bad place", hold_fault_tests::ends_all_the_same, 8300..8306);
const HELD_LOST_AMONG: Scenario =
    scenario("a lost change among many", hold_fault_tests::lost_among_many, 8600..8602);
const HELD_TOO_MUCH: Scenario = scenario("reserved room", hold_fault_tests::reserved_room, 8800..8802);
const HELD_ROWS: Scenario = scenario("lost rows behind a hold", lost_row_tests::behind_a_hold, 8900..8906);
const HELD_BAD: Scenario =
    scenario("leaving a bad block behind a hold", lost_row_tests::leaves_a_bad_block, 9000..9004);
const LOST_ENDS: Scenario = scenario("lost rows after a crash", lost_row_tests::after_a_crash, 9100..9103);
const RESTARTS: Scenario = scenario("faults and restarts", fault_tests::faults_and_restarts, 2500..2502);

const MISPLACED: Scenario = scenario("misplaced chunks", misplaced_tests::at_another_place, 8650..8651);
const ASTRAY: Scenario = scenario("chunks in other blocks", misplaced_tests::in_another_block, 8660..8661);
const DOUBLED: Scenario = scenario("doubled blocks", misplaced_tests::doubled, 8670..8671);
const UNREADABLE_SECTORS: Scenario = scenario("unreadable sectors", sector_tests::unreadable, 3100..3102);
/// Of a sample in several parts, one stands in a block of which another chunk is lost.
const SECTORS_AND_PARTS: Scenario =
    scenario("unreadable sectors", sector_tests::unreadable, 100_011..100_013);
const COPIES_APART: Scenario = scenario("copies apart", sector_tests::copies_apart, 3120..3140);
const MEMORY: Scenario = scenario("what waits in memory", memory_tests::bounded, 9900..9902);
const SCRUB: Scenario = scenario("scrub", scrub_tests::finds_all, 9500..9504);
const SCRUB_BESIDE: Scenario = scenario("scrub beside a writer", scrub_tests::finds_nothing, 9700..9712);
const SCRUB_LARGE: Scenario = scenario("scrub, a large void", scrub_tests::large_void, 9950..9951);
const HALF_WIPED: Scenario =
    scenario("checking what is half overwritten", overwriting_tests::cut_off, 8760..8762);
const WIPED: Scenario = scenario("checking what is overwritten", overwriting_tests::finished, 8770..8772);
const CHECKED_BESIDE: Scenario =
    scenario("checking beside an erasure", overwriting_tests::beside, 8780..8800);
const ERASED: Scenario = scenario("erasing", erase_tests::erasing, 8400..8402);
const ERASED_HELD: Scenario = scenario("erasing what is held", erase_tests::held, 8500..8502);
const ERASED_EVENTS: Scenario = scenario("erasing, every event", erase_tests::every_event, 8600..8603);

const AGED: Scenario = scenario("maximum ages", age_tests::aged, 9400..9406);
const AGED_CLOCKS: Scenario = scenario("maximum ages and clocks", age_tests::jumps, 9500..9504);
const AGED_WRONG: Scenario = scenario("recorded under wrong clocks", age_tests::wrong_clocks, 9600..9606);
const AGED_ALONE: Scenario = scenario("ages without a time server", age_tests::no_time_server, 9650..9651);
const ERASED_BAD: Scenario = scenario("erasing a bad place", erase_tests::bad_place, 8900..8902);
const ERASED_WITHHELD: Scenario = scenario("withheld footage", erase_left_tests::withheld, 8980..8984);
const ERASED_LEFT: Scenario =
    scenario("half erased and unreadable", erase_left_tests::unreadable_left, 8990..8991);
const ERASED_AGAIN: Scenario = scenario("asked again", erase_left_tests::asked_again, 8991..9051);
const ERASED_GIVEN_UP: Scenario = scenario("given up and asked for", erase_left_tests::given_up, 8995..8996);
const ERASED_UNREADABLE: Scenario =
    scenario("half erased, unreadable, asked for", erase_left_tests::unreadable_asked, 8998..9000);
const ERASED_BESIDE: Scenario =
    scenario("withheld beside what is erased", erase_left_tests::withheld_beside, 9011..9051);
const ERASED_REFUSED: Scenario =
    scenario("half erased and refused", erase_left_tests::refused_left, 8996..8997);
const HELD_BETWEEN: Scenario =
    scenario("held between what is withheld", erase_beside_tests::held_between, 9021..9027);
const NOT_ASKED: Scenario = scenario("given up, not asked for", erase_beside_tests::not_asked, 9031..9035);
const ERASED_REFUSED_TABLE: Scenario =
    scenario("erasing beside a refused table", erase_beside_tests::refused_table, 9041..9042);
/// The oldest footage is erased, alone and after each other deed.
const ERASED_OLDEST: Scenario =
    scenario("short sequences", |index| sequence_tests::try_sequence(index, 4), 16..17 + 17 * 17);
const ERASED_STUCK: Scenario = scenario("erasing while the disk fails", erase_tests::stuck, 8970..8974);
const ERASED_CLOSING: Scenario =
    scenario("closing while footage is erased", erase_fault_tests::closing, 8410..8411);
const AGED_CLOSING: Scenario =
    scenario("closing when footage is past its age", erase_fault_tests::closing_aged, 8430..8431);
const ERASED_CABLE: Scenario =
    scenario("erasing through a bad cable", erase_fault_tests::bad_cable, 8910..8911);
const ERASED_PAGE: Scenario =
    scenario("erasing an unreadable page", erase_fault_tests::unreadable_page, 8920..8921);
const ERASED_HALF: Scenario = scenario("half erased", erase_fault_tests::half_erased, 8930..8932);
const FORGED_SCRUB: Scenario = scenario("scrub, forged place", scrub_tests::forged_place, 9950..9951);
const LIFTED_NOWHERE: Scenario =
    scenario("a lost change, not lifted", hold_fault_tests::lifted_nowhere, 8640..8641);
const ERASED_UNREAD: Scenario = scenario("erasing what cannot be read", erase_tests::unreadable, 8950..8952);
const LATER: Scenario = scenario("later looks", renewed_tests::histories, 9100..9104);
const LATER_HELD: Scenario = scenario("later looks at what was held", renewed_tests::lifted, 9130..9138);
const LATER_TWICE: Scenario =
    scenario("later looks across two power cuts", renewed_cut_tests::power_cuts, 9173..9174);
const LATER_CUT: Scenario =
    scenario("later looks across power cuts", renewed_cut_tests::power_cuts, 9170..9174);
const LATER_OPENED: Scenario =
    scenario("later looks while another opens", renewed_cut_tests::opened_anew, 9190..9192);
const LATER_HOLE: Scenario = scenario("later looks over a hole", renewed_cut_tests::hole, 9195..9196);
const AGED_LOST: Scenario = scenario("maximum ages and rebuilding", age_tests::rebuilt, 9550..9552);

const GROWING: Scenario = scenario("growing, every event", grow_tests::every_event, 12_000..12_003);
const GROWN_LAPS: Scenario = scenario("laps, grown", grown_tests::laps, 13_100..13_102);
const ANOTHER_LIFE: Scenario = scenario("another life", grow_tests::another_life, 12_200..12_202);
const ANOTHER_END: Scenario = scenario("another volume's end", grow_tests::another_end, 12_300..12_301);

/// A bug, or several where one check stands behind another, and where it is to be found.
type Plant = (&'static [Bug], &'static [Scenario]);

const PLANTS: &[Plant] = &[
    (&[Bug::FlushSkipped], &[EVENTS]),
    (&[Bug::WatermarkBeforeFlush], &[NTH, FAILING]),
    (&[Bug::FlushRetriedBare], &[NTH, FAILING]),
    (&[Bug::DoubtForgotten], &[FAILING, NTH]),
    (&[Bug::WriteErrorIgnored], &[NTH, FAILING]),
    (&[Bug::HomelessForgotten], &[NTH, PLACES]),
    (&[Bug::BadTakenAgain], &[NTH, PLACES]),
    (&[Bug::ReplacedNotVoided], &[NTH, FAILING, PLACES]),
    (&[Bug::RecordClaimsSent], &[EVENTS, CUTS]),
    (&[Bug::GrantNotLogged], &[EVENTS, SEQUENCES, CUTS]),
    (&[Bug::GrantedStillServed], &[SEQUENCES, CUTS]),
    (&[Bug::TakenBeforeGrantFlushed], &[EVENTS, CUTS]),
    (&[Bug::HighestForgotten], &[EVENTS, CUTS]),
    (&[Bug::EpochReused], &[EVENTS]),
    (&[Bug::EpochNotFlushed], &[EVENTS]),
    // Behind the epoch stands the chain, behind the chain the epoch.
    (&[Bug::EpochReused, Bug::ChainUnchecked], &[EVENTS, CUTS]),
    (&[Bug::EpochUnchecked, Bug::ChainUnchecked], &[SUFFIXES]),
    (&[Bug::ChainNotWritten], &[EVENTS]),
    // Behind the sequence stand the chain and the epoch: an older lap is accepted only without all three.
    (&[Bug::SequenceUnchecked, Bug::ChainUnchecked, Bug::EpochUnchecked], &[SEQUENCES, CUTS]),
    // The take of a block is of one stream: behind the stream stands the sequence.
    (
        &[Bug::StreamUnchecked, Bug::SequenceUnchecked, Bug::ChainUnchecked, Bug::EpochUnchecked],
        &[SEQUENCES, CUTS],
    ),
    (&[Bug::BlockLinkUnchecked], &[EVENTS, SEQUENCES, CUTS]),
    (&[Bug::TailUnverified], &[EVENTS, CUTS]),
    (&[Bug::TornHeaderAccepted], &[TORN]),
    (&[Bug::RecordBodyUnverified], &[EVENTS, CUTS]),
    (&[Bug::FrameUnverified], &[BYTES]),
    (&[Bug::OldRowsBelieved], &[NTH, CUTS]),
    (&[Bug::ReadErrorsBelieved], &[READS]),
    // Behind the row of a block that is written on stands what its chunks say.
    (&[Bug::ResumedRowWritten, Bug::LostEndBelieved], &[RESUMED]),
    (&[Bug::LostEndBelieved], &[LOST_ENDS]),
    (&[Bug::RecordRowsIgnored], &[EVENTS, CUTS]),
    (&[Bug::RowsLeaveRecordEarly], &[EVENTS, CUTS]),
    (&[Bug::ReleasedGrantNotLogged], &[CUTS, SEQUENCES, LAPS]),
    (&[Bug::OldestRecordTaken], &[EVENTS]),
    (&[Bug::RecordInOneLogOnly], &[EVENTS]),
    (&[Bug::WrongStreamNamed], &[EVENTS]),
    (&[Bug::ClosedTooEarly], &[EVENTS, CUTS]),
    (&[Bug::VictimsInDiskOrder], &[CUTS, LAPS]),
    (&[Bug::RankForgotten], &[LAPS, CUTS]),
    (&[Bug::ParkedNotResumed], &[EVENTS]),
    (&[Bug::ResumedAtWrongEnd], &[EVENTS]),
    (&[Bug::FooterRoomForgotten, Bug::FooterOverChunks], &[LAPS, CUTS]),
    (&[Bug::MovedSyncsForgotten], &[MOVED_SYNCS]),
    // Where a block came to have no room for its footer it goes without.
    (&[Bug::MovedSyncsForgotten, Bug::FooterOverChunks], &[MOVED_SYNCS]),
    (&[Bug::FooterTrusted], &[SEQUENCES, CUTS]),
    (&[Bug::ConfigurationOnlyOnce], &[LAPS]),
    (&[Bug::GapDropped], &[EVENTS]),
    (&[Bug::DirectoryInOneCopyOnly], &[EVENTS]),
    (&[Bug::DirectoryWrittenInOneGo], &[EVENTS]),
    (&[Bug::CopiesNotRepaired], &[COPIES]),
    (&[Bug::RowNotRepaired], &[OUTDATED]),
    (&[Bug::TablePlaceUnchecked], &[LOST, LIES]),
    (&[Bug::VolumeUnchecked], &[FOREIGN]),
    (&[Bug::PayloadUnverified], &[BYTES]),
    (&[Bug::SampleTableUnverified], &[BYTES]),
    (&[Bug::SecondBlockHeaderIgnored], &[LOST]),
    (&[Bug::SecondChunkHeaderIgnored], &[BYTES]),
    (&[Bug::SplitJoinedAcrossLoss], &[BYTES]),
    (&[Bug::CheckBlind], &[BYTES]),
    (&[Bug::PassedReaderSeesDamage], &[PASSED]),
    (&[Bug::KeptGivenUnseen], &[KEPT]),
    (&[Bug::FooterOfAnyTakeKept], &[FOOTERS]),
    (&[Bug::TableFailsAsOne], &[METADATA]),
    (&[Bug::GoodCopyTakenBack], &[ONE_DIRECTORY]),
    (&[Bug::HoldGivenUpWithFirstCopy], &[COPIES_REFUSED, HELD_REFUSED]),
    (&[Bug::MissingHoldForgotten], &[HELD_LOST_AMONG]),
    (&[Bug::ReservedNeverCut], &[HELD_TOO_MUCH]),
    (&[Bug::KnownRowsJudged], &[HELD_ROWS]),
    (&[Bug::GrantedEndUnknown], &[HELD_BAD]),
    (&[Bug::FaultsForgottenAtOpening], &[RESTARTS]),
    (&[Bug::FaultsUnlimited], &[RESTARTS]),
    (&[Bug::QueueUnbounded], &[MEMORY]),
    (&[Bug::FreedBeforeDurable], &[MEMORY]),
    (&[Bug::BudgetForEachStream], &[MEMORY]),
    (&[Bug::FaultTakesQuietly], &[RESTARTS]),
    (&[Bug::OffsetUnchecked], &[MISPLACED]),
    (&[Bug::BlockUnchecked], &[DOUBLED]),
    // Behind the block stands the sequence: no take is of two blocks.
    (&[Bug::BlockUnchecked, Bug::SequenceUnchecked], &[ASTRAY]),
    (&[Bug::UnreadablePageCostsChunk], &[UNREADABLE_SECTORS]),
    (&[Bug::CopiesTogether], &[UNREADABLE_SECTORS]),
    (&[Bug::TablesTogether], &[COPIES_APART]),
    (&[Bug::DamageHidesNumbers], &[SECTORS_AND_PARTS]),
    (&[Bug::CopiesNeedOperator], &[TORN, COPIES]),
    (&[Bug::OpeningAges], &[EVENTS]),
    (&[Bug::ParkedLostAtOpening], &[EVENTS]),
    (&[Bug::SessionOverFootage], &[EVENTS]),
    (&[Bug::SessionUserForgotten], &[EVENTS]),
    (&[Bug::CameraClockForgotten], &[EVENTS]),
    (&[Bug::HeldTaken], &[HELD_LAPS]),
    (&[Bug::GrantNotWithdrawn], &[HELD_GRANTS]),
    (&[Bug::HoldNotWritten], &[HELD_EVENTS]),
    (&[Bug::HoldForgottenAtOpening], &[HELD_LAPS, HELD_RANDOM]),
    (&[Bug::LostHoldNotSpared], &[HELD_LOST]),
    (&[Bug::HoldWithoutSync], &[HELD_LAPS, HELD_RANDOM]),
    (&[Bug::SessionNotWritten], &[EVENTS]),
    (&[Bug::SessionInOneCopyOnly], &[SESSIONS]),
    (&[Bug::QuotaIgnored], &[QUOTAS]),
    (&[Bug::HeldErased], &[ERASED_HELD]),
    (&[Bug::ErasedChainBroken], &[ERASED]),
    (&[Bug::ErasedInOneGo], &[ERASED_EVENTS]),
    (&[Bug::ErasedNotWiped], &[ERASED]),
    (&[Bug::HalfWipedIsDamage], &[HALF_WIPED]),
    (&[Bug::HalfWipedForgiven], &[WIPED]),
    (&[Bug::CheckedByOldRows], &[CHECKED_BESIDE]),
    (&[Bug::VoidVerifiedByHalf], &[SCRUB_LARGE]),
    (&[Bug::MinimumAgeIgnored], &[YOUNG]),
    (&[Bug::AgedOutStillServed], &[AGED]),
    (&[Bug::AgedOutHeldHidden], &[AGED]),
    (&[Bug::StampsBelieved], &[AGED_WRONG]),
    (&[Bug::RunningAgeIgnored], &[AGED_ALONE]),
    (&[Bug::WithheldGiven], &[ERASED_BAD]),
    (&[Bug::ErasedByHalf], &[ERASED_UNREAD]),
    (&[Bug::ReservedForGood], &[ERASED_STUCK]),
    (&[Bug::ErasureCostsMore], &[ERASED_OLDEST]),
    (&[Bug::WithheldForgotten], &[ERASED_WITHHELD]),
    (&[Bug::BegunForgotten], &[ERASED_LEFT]),
    (&[Bug::HalfErasedForgotten], &[ERASED_AGAIN]),
    (&[Bug::HalfErasedForgotten], &[ERASED_REFUSED]),
    (&[Bug::WithheldTakenForVoid], &[ERASED_BESIDE]),
    (&[Bug::RefusedTakenForFlushed], &[ERASED_BESIDE]),
    (&[Bug::BegunTakenForFootage], &[ERASED_UNREADABLE]),
    (&[Bug::WithheldToldEarly], &[ERASED_AGAIN]),
    (&[Bug::GivenUpEraseForgotten], &[ERASED_GIVEN_UP]),
    (&[Bug::BetweenWithheld], &[HELD_BETWEEN]),
    (&[Bug::GivenUpAlwaysAsked], &[NOT_ASKED]),
    (&[Bug::ErasingFillsRecord], &[ERASED_REFUSED_TABLE]),
    (&[Bug::ErasingBegunWhileClosing], &[AGED_CLOSING]),
    (&[Bug::ErasingBegunWhileClosing], &[ERASED_CLOSING]),
    (&[Bug::ErasingLeftHalfway], &[ERASED_CLOSING]),
    (&[Bug::StoppedErasureNotTold], &[ERASED_CLOSING]),
    (&[Bug::ErasingFaultsUnlimited], &[ERASED_CABLE]),
    (&[Bug::UnreadableNotCovered], &[ERASED_PAGE]),
    (&[Bug::BegunNotFinished], &[ERASED_HALF]),
    (&[Bug::UnwipedVoidRefused], &[ERASED_HALF]),
    (&[Bug::ForgedScrubBelieved], &[FORGED_SCRUB]),
    (&[Bug::MissingHoldLiftedUnwritten], &[LIFTED_NOWHERE]),
    (&[Bug::HeldExpired], &[AGED]),
    (&[Bug::ExpiredWithoutSync], &[AGED_CLOCKS]),
    (&[Bug::ClockBelievedAtOnce], &[AGED_CLOCKS]),
    (&[Bug::AgeLostWithDirectory], &[AGED_LOST]),
    (&[Bug::GivenUpComesBack], &[GIVEN_UP]),
    (&[Bug::SessionLeftBehind], &[SESSION_BEHIND]),
    (&[Bug::RepairOverwrites], &[REPAIR_ERASES]),
    (&[Bug::RowsBelieved], &[FORGED_ROWS]),
    (&[Bug::TrailerBelieved], &[FORGED_TRAILERS]),
    (&[Bug::DurableEndForgotten], &[ROTTEN]),
    (&[Bug::UnreadableTakenForEmpty], &[UNREADABLE]),
    (&[Bug::StaleErasureComesBack], &[STALE_ERASED]),
    (&[Bug::NamelessDropped], &[REPAIRED]),
    (&[Bug::IdleWriterSetsAside], &[REPAIR_TAKES, IDLE]),
    (&[Bug::RepairBelievesOnePass], &[REPAIR_READS]),
    (&[Bug::RepairGuessesSize], &[CUT_SHORT]),
    (&[Bug::EpochFromBlocksOnly], &[EPOCHS]),
    (&[Bug::EntriesMovedInOneGo], &[HOLES]),
    (&[Bug::TableUnreadWithoutRecord], &[GIVEN_UP]),
    (&[Bug::RowsNotRebuilt], &[REPAIRED_ROWS]),
    (&[Bug::OlderCopyUnnoticed], &[OLDER]),
    (&[Bug::OutdatedLogBelieved], &[OLDER]),
    (&[Bug::OutdatedRowUnnoticed], &[SECTORS]),
    (&[Bug::StreamsWithoutNameHidden], &[NAMELESS]),
    (&[Bug::ScrubSkipsBlocks], &[SCRUB]),
    (&[Bug::ScrubForgetsPlace], &[SCRUB]),
    (&[Bug::ScrubPlaceApart], &[SCRUB]),
    (&[Bug::ScrubCallsPassedDamaged], &[SCRUB_BESIDE]),
    (&[Bug::WrittenRowsNotReadAgain], &[LATER]),
    (&[Bug::FoundRowsNotReadAgain], &[LATER_OPENED]),
    (&[Bug::PageNeighboursNotRead], &[LATER_HELD]),
    (&[Bug::RememberedTailBelieved], &[LATER_CUT]),
    (&[Bug::RememberedTailUnverified], &[LATER_CUT]),
    (&[Bug::WalkGoesOnWhereErased], &[LATER]),
    (&[Bug::HoleEndsLog], &[LATER_HOLE]),
    (&[Bug::KnownRecordNotLookedAt], &[LATER_CUT]),
    (&[Bug::KnownBodyNotLookedAt], &[LATER_CUT]),
    (&[Bug::OtherWriterUnnoticed], &[LATER_TWICE]),
    (&[Bug::ExtentTableNotWritten], &[GROWING]),
    (&[Bug::GrownBeforeFlushed], &[GROWING]),
    (&[Bug::GrowthKeepsGeneration], &[GROWING]),
    (&[Bug::ExtentOverTable], &[GROWN_LAPS]),
    (&[Bug::LastCopyBelieved], &[ANOTHER_LIFE]),
    (&[Bug::FewestMissingCount], &[ANOTHER_END]),
];

/// What became of a plant: where it was caught after how many images, and why; else what is wrong. What the same case finds in the
/// unbroken ring is no catch.
fn hunt(plant: &Plant) -> Result<(&'static str, u64, String), String> {
    let (bugs, scenarios) = *plant;
    let before = judged();
    for scenario in scenarios {
        for seed in scenario.seeds.clone() {
            let Err(why) = with(bugs, || outcome(scenario, seed)) else { continue };
            let states = judged() - before;
            let unbroken = outcome(scenario, seed);
            let same = |why| format!("{} fails at {seed} unbroken, too: {why}", scenario.name);
            return unbroken.map_err(same).map(|()| (scenario.name, states, why));
        }
    }
    Err("nothing notices it".to_owned())
}

fn outcome(scenario: &Scenario, seed: u64) -> Verdict {
    let judged = catch_unwind(AssertUnwindSafe(|| (scenario.run)(seed)));
    judged.unwrap_or_else(|_| Err("a panic".to_owned())).map(drop)
}

#[test]
fn the_document_says_how_many_bugs_are_planted() {
    let told = format!("breaks the ring in {} ways", PLANTS.len());
    let document = include_str!("../../../docs/reliability.md");
    assert!(document.contains(&told), "it {told}");
    assert!(document.contains("(planted-bugs.md)"), "where they are listed");
}

#[test]
fn the_oracle_catches_every_planted_bug() {
    let wanted = std::env::var("KEHA_PLANT").unwrap_or_default();
    let plants: Vec<&Plant> =
        PLANTS.iter().filter(|(bugs, _)| format!("{bugs:?}").contains(&wanted)).collect();
    let usual = std::panic::take_hook();
    // A bug may well end in a panic; which one it was does not matter here.
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() != Some("hunter") {
            usual(info);
        }
    }));
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let caught = Mutex::new(BTreeMap::new());
    let hunter = || {
        // What scenarios share is made while nothing is broken.
        for which in 0..2 {
            words::recorded_on(which).unwrap_or_else(|why| panic!("{why}"));
        }
        loop {
            let which = next.fetch_add(1, Ordering::Relaxed);
            let Some(plant) = plants.get(which) else { return };
            let name = name_of(plant);
            let began = std::time::Instant::now();
            match hunt(plant) {
                Ok((scenario, states, why)) => {
                    caught
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .insert(which, format!("| {name} | {scenario} | {states} |"));
                    let why: String = why.lines().next().unwrap_or_default().chars().take(150).collect();
                    println!(
                        "{name}: caught by {scenario:?} after {states} states, {:.1?}: {why}",
                        began.elapsed()
                    );
                }
                Err(why) => {
                    println!("{name}: NOT CAUGHT, {:.1?}: {why}", began.elapsed());
                    let missed = missed.lock();
                    missed.unwrap_or_else(std::sync::PoisonError::into_inner).push(format!("{name}: {why}"));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            let spawned = std::thread::Builder::new().name("hunter".to_owned()).spawn_scoped(scope, hunter);
            assert!(spawned.is_ok(), "no thread: {spawned:?}");
        }
    });
    let missed = missed.into_inner().unwrap_or_default();
    assert!(missed.is_empty(), "planted bugs that go unnoticed: {missed:#?}");
    println!("{} planted bugs, all caught", plants.len());
    if std::env::var_os("KEHA_WRITE_DOCS").is_some() && wanted.is_empty() {
        let rows: Vec<String> = caught.into_inner().unwrap_or_default().into_values().collect();
        let table = format!("{}{TABLE_HEAD}{}\n", document_head(), rows.join("\n"));
        std::fs::write(TABLE, table).expect("docs/planted-bugs.md can be written");
    }
}
