//! Bugs that can be switched on, to see that the proof finds them: `planted!(FlushSkipped)` is true while that bug is.
//!
//! They exist only in this crate's own tests under the feature `planted-bugs`; anything else refuses to be built with it, and
//! without it `planted!` is the constant `false`. A switch is one condition at the place that it breaks; no behaviour but
//! that of the bug may hang on it. What each does to the ring is said where it is listed.

#[cfg(all(feature = "planted-bugs", not(test)))]
compile_error!(
    "the feature `planted-bugs` makes the ring lose footage: it is for `cargo test -p keha-fs --lib` alone"
);

/// Whether a planted bug is switched on.
#[cfg(not(all(test, feature = "planted-bugs")))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

/// Whether a planted bug is switched on.
#[cfg(all(test, feature = "planted-bugs"))]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::is_on($crate::planted::Bug::$bug)
    };
}

#[cfg(all(test, feature = "planted-bugs"))]
pub(crate) use switches::{Bug, is_on, with};

#[cfg(all(test, feature = "planted-bugs"))]
mod switches {
    use std::cell::Cell;

    /// What can be broken.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Bug {
        /// A withdrawn block is taken again.
        BadTakenAgain,
        /// A block counts although it does not begin where its stream ends.
        BlockLinkUnchecked,
        /// Chunks and block headers count whatever block they name.
        BlockUnchecked,
        /// Chunks count wherever in their block they stand.
        OffsetUnchecked,
        /// Where one page of a chunk cannot be read, none of it is.
        UnreadablePageCostsChunk,
        /// Both copies of a configuration or a gap record stand side by side.
        CopiesTogether,
        /// Both tables of a chunk may have bytes in one page.
        TablesTogether,
        /// Where damage hides chunks of a block, no number of the others is known.
        DamageHidesNumbers,
        /// A chunk that moves needs room for the place of one sync sample in the footer.
        MovedSyncsForgotten,
        /// A footer is written over what stands there.
        FooterOverChunks,
        /// A volume in which a crash left the copies of the directory apart is not opened for writing.
        CopiesNeedOperator,
        /// Each opening counts as a minute in which the volume was open.
        OpeningAges,
        /// What a crash or an end left parked is forgotten by the next writer.
        ParkedLostAtOpening,
        /// The session is noted in the first block.
        SessionOverFootage,
        /// Whose process opened the volume is not noted.
        SessionUserForgotten,
        /// How far the camera's clock was off is not stored.
        CameraClockForgotten,
        /// Each stream may have what all together may have, whatever others left behind.
        BudgetForEachStream,
        /// A block of which a write failed is left for another, and not withdrawn.
        FaultTakesQuietly,
        /// Chunks count whatever number and predecessor they name.
        ChainUnchecked,
        /// Whatever the scrub finds counts, also where the ring took the block meanwhile.
        ScrubCallsPassedDamaged,
        /// The scrub's place is not written.
        ScrubForgetsPlace,
        /// The scrub's findings are written without its place.
        ScrubPlaceApart,
        /// The scrub goes over every second block only.
        ScrubSkipsBlocks,
        /// A session is written to its first copy only.
        SessionInOneCopyOnly,
        /// A session is not written.
        SessionNotWritten,
        /// Chunks are written without their predecessor's checksum.
        ChainNotWritten,
        /// An extent's blocks begin where its table does.
        ExtentOverTable,
        /// The table of an extent is not written.
        ExtentTableNotWritten,
        /// The superblock says that the volume has grown before the extent's table was flushed.
        GrownBeforeFlushed,
        /// The superblock of a volume that has grown is of no later generation.
        GrowthKeepsGeneration,
        /// The newest superblock counts wherever it stands.
        LastCopyBelieved,
        /// Of two volumes in one place the one counts that misses the fewest superblocks, wherever they stand.
        FewestMissingCount,
        /// `check` reports nothing.
        CheckBlind,
        /// The volume is closed after one round, whatever still waits.
        ClosedTooEarly,
        /// A stream's configuration is not repeated in fresh blocks.
        ConfigurationOnlyOnce,
        /// Damaged copies of superblock and directory are left as they are.
        CopiesNotRepaired,
        /// A changed directory is written to its first copy only.
        DirectoryInOneCopyOnly,
        /// A changed directory goes to a copy in one write, which may tear.
        DirectoryWrittenInOneGo,
        /// That a flush failed is forgotten by the next round.
        DoubtForgotten,
        /// Void chunks do not name what the next chunk links to.
        ErasedChainBroken,
        /// Void headers go out over zeros at once, whatever a power cut leaves of them.
        ErasedInOneGo,
        /// Nothing but the headers of what is erased is overwritten.
        ErasedNotWiped,
        /// While the volume closes, what waits to be overwritten is begun.
        ErasingBegunWhileClosing,
        /// What is half overwritten when the volume closes stays so.
        ErasingLeftHalfway,
        /// Who waits for an erasure when the volume closes is told nothing.
        StoppedErasureNotTold,
        /// Each block that cannot be overwritten is withdrawn, however many there are.
        ErasingFaultsUnlimited,
        /// Where the header of a void chunk goes to a page that cannot be read, the block is given up.
        UnreadableNotCovered,
        /// What a crash left half overwritten is left so.
        BegunNotFinished,
        /// A void chunk that is not zeros yet counts no more than footage that does not verify.
        UnwipedVoidRefused,
        /// A place of the scrub counts whatever it says, if its checksum is right.
        ForgedScrubBelieved,
        /// A check takes what is being overwritten for damaged.
        HalfWipedIsDamage,
        /// A check takes what is not zeros for what is being overwritten, whatever its row says.
        HalfWipedForgiven,
        /// A check beside a writer goes by the rows that it found first.
        CheckedByOldRows,
        /// Of a large void chunk only the first piece is verified.
        VoidVerifiedByHalf,
        /// What is held is erased like anything else.
        HeldErased,
        /// What is held is overwritten at its maximum age like anything else.
        HeldExpired,
        /// What is past its maximum age is overwritten on the word of a clock that nobody keeps.
        ExpiredWithoutSync,
        /// The same on the word of one that was just set.
        ClockBelievedAtOnce,
        /// Any clock is believed to have been right while it was recorded under, and time to go back.
        StampsBelieved,
        /// A maximum age is over only when a clock says so.
        RunningAgeIgnored,
        /// What was erased of a withdrawn block is given all the same.
        WithheldGiven,
        /// Of a block that cannot be read whole what is found of it is erased, and the rest forgotten.
        ErasedByHalf,
        /// While footage is erased, what was written next is set aside in its place.
        ErasureCostsMore,
        /// What is held, or not asked for, is withheld where what lies before it and behind it is.
        BetweenWithheld,
        /// Erasing takes the room that the rows of what is recorded need, where the table refuses rows.
        ErasingFillsRecord,
        /// Whatever was given up counts as of any range that is to be erased.
        GivenUpAlwaysAsked,
        /// What is withheld is forgotten where a block is examined anew.
        WithheldForgotten,
        /// Whoever asks again for what could not be erased is told that it is.
        HalfErasedForgotten,
        /// What was withheld counts as overwritten, whatever stands there.
        WithheldTakenForVoid,
        /// What a crash left half overwritten is done where its header cannot be read.
        BegunTakenForFootage,
        /// Whoever asked is told of a failure before a record says what is withheld.
        WithheldToldEarly,
        /// A block is taken for void though the disk refused the headers of its void chunks.
        RefusedTakenForFlushed,
        /// What was given up, and could not be erased, is forgotten.
        GivenUpEraseForgotten,
        /// What a crash left half overwritten is forgotten where it cannot be read.
        BegunForgotten,
        /// Blocks that were to be erased stay set aside when that fails.
        ReservedForGood,
        /// What is past its maximum age is given to readers.
        AgedOutStillServed,
        /// A maximum age is forgotten where the stream directory is lost.
        AgeLostWithDirectory,
        /// What is held is hidden from readers at its maximum age like anything else.
        AgedOutHeldHidden,
        /// The new epoch is not made durable before it is used.
        EpochNotFlushed,
        /// A new writer goes on in the epoch of the last.
        EpochReused,
        /// Chunks count whatever epoch they name.
        EpochUnchecked,
        /// A failed flush is tried again without writing again.
        FlushRetriedBare,
        /// Flushes are not sent to the disk.
        FlushSkipped,
        /// No room is kept for a block's footer.
        FooterRoomForgotten,
        /// What a footer says is not held against the chunks.
        FooterTrusted,
        /// Blocks that were withdrawn are counted anew after each opening.
        FaultsForgottenAtOpening,
        /// However many blocks are withdrawn, a stream takes another.
        FaultsUnlimited,
        /// Checksums of framed structures are not verified.
        FrameUnverified,
        /// Samples count as safe, and make room for others, once they are sent to the disk.
        FreedBeforeDurable,
        /// Gaps are not recorded.
        GapDropped,
        /// Round records do not say which blocks they grant.
        GrantNotLogged,
        /// A block that was set aside is taken although it is held since.
        GrantNotWithdrawn,
        /// What a block held counts although the newest record grants it.
        GrantedStillServed,
        /// Blocks that are held are taken like any other.
        HeldTaken,
        /// Holds do not count after opening until another is made.
        HoldForgottenAtOpening,
        /// A hold is acknowledged without being written.
        HoldNotWritten,
        /// A copy of the directory that was brought up to date is taken for what it was before, where the other cannot be written.
        GoodCopyTakenBack,
        /// A hold that cannot be written to its first copy is not written to the second, and nothing ends that should.
        HoldGivenUpWithFirstCopy,
        /// The mark of a missing hold is lifted although no copy of a slot says so.
        MissingHoldLiftedUnwritten,
        /// That a change of the holds was lost is forgotten where no slot is free to say so.
        MissingHoldForgotten,
        /// A hold within what was set aside for it is never cut short.
        ReservedNeverCut,
        /// A hold does not begin with a sync sample.
        HoldWithoutSync,
        /// A footer counts whose last chunks never landed, where a row is found again from its block.
        LostEndBelieved,
        /// What a lost hold may have kept is overwritten like anything else.
        LostHoldNotSpared,
        /// Round records do not say the highest sequence granted.
        HighestForgotten,
        /// Chunks whose write failed find no other place.
        HomelessForgotten,
        /// Blocks younger than their stream's minimum age are taken like any other.
        MinimumAgeIgnored,
        /// Samples are taken in however much of their stream waits for the disk.
        QueueUnbounded,
        /// Streams may have more blocks than their quota.
        QuotaIgnored,
        /// The table's old row of a block that was taken since counts for the stream whose it was.
        OldRowsBelieved,
        /// The oldest round record is taken for the newest.
        OldestRecordTaken,
        /// A copy of the directory that is older than the other goes unnoticed by `check`.
        OlderCopyUnnoticed,
        /// A round record counts although the table knows more.
        OutdatedLogBelieved,
        /// Rows that know less than their blocks go unnoticed by `check`.
        OutdatedRowUnnoticed,
        /// The copies of the session before are left apart by the next writer.
        SessionLeftBehind,
        /// A repair finishes what a crash left of an overwriting.
        RepairOverwrites,
        /// A row counts whatever it says, if its checksum is right.
        RowsBelieved,
        /// A trailer counts whatever it says, if its checksum is right.
        TrailerBelieved,
        /// What the table knows to be durable is forgotten where no record stands.
        DurableEndForgotten,
        /// An erased block counts again where an earlier take was put back.
        StaleErasureComesBack,
        /// A block counts as empty if its row is lost and its header cannot be read.
        UnreadableTakenForEmpty,
        /// A repair finds footage again that was given up or erased.
        GivenUpComesBack,
        /// A repair leaves streams without a name out of the directory.
        NamelessDropped,
        /// A repair leaves the rows of the table as they are.
        RowsNotRebuilt,
        /// Where no record stands, epochs of sessions that wrote nothing are forgotten.
        EpochFromBlocksOnly,
        /// A repair moves entries of the directory without keeping them where they were.
        EntriesMovedInOneGo,
        /// Where no record stands, the table is not read.
        TableUnreadWithoutRecord,
        /// A repair takes for lost what it fails to read once.
        RepairBelievesOnePass,
        /// A repair takes the size of the disk for that of the volume.
        RepairGuessesSize,
        /// A writer sets blocks aside although nobody records.
        IdleWriterSetsAside,
        /// A parked block is not written on.
        ParkedNotResumed,
        /// A reader does not notice that the ring has passed it.
        PassedReaderSeesDamage,
        /// What is in memory is given whatever became of it.
        KeptGivenUnseen,
        /// A footer that is kept of a block is said of it whoever has it by now.
        FooterOfAnyTakeKept,
        /// Checksums of samples are not verified.
        PayloadUnverified,
        /// Blocks keep the rank of their take, however late they are written to.
        RankForgotten,
        /// Round records say durable where they know of sent.
        RecordClaimsSent,
        /// Rows that the table has are judged by blocks that were rebuilt, and an end behind a hole is none.
        KnownRowsJudged,
        /// Of a stream that moved to a granted block nothing is known to be durable.
        GrantedEndUnknown,
        /// What could not be read while opening for writing counts as lost.
        ReadErrorsBelieved,
        /// The body of a round record is not verified.
        RecordBodyUnverified,
        /// Round records are written to one log only.
        RecordInOneLogOnly,
        /// The rows in a round record do not count.
        RecordRowsIgnored,
        /// Blocks that are given back at the end are not logged.
        ReleasedGrantNotLogged,
        /// Chunks that were written again elsewhere count in the old place too.
        ReplacedNotVoided,
        /// A parked block is written on from its beginning.
        ResumedAtWrongEnd,
        /// The table says of a parked block that is written again that it is open.
        ResumedRowWritten,
        /// A row that is not what the block says is believed when the block is taken.
        RowNotRepaired,
        /// Rows leave the round record before the table has them.
        RowsLeaveRecordEarly,
        /// The checksum of a chunk's tables is not verified.
        SampleTableUnverified,
        /// The second copy of a block header is not looked at.
        SecondBlockHeaderIgnored,
        /// The second copy of a chunk header is not looked at.
        SecondChunkHeaderIgnored,
        /// Chunks count whatever take of their block they are of.
        SequenceUnchecked,
        /// Parts of a sample are joined across a part that is lost.
        SplitJoinedAcrossLoss,
        /// Chunks count whatever stream they are of.
        StreamUnchecked,
        /// Footage of which no directory knows is not given.
        StreamsWithoutNameHidden,
        /// Where one sector of the table cannot be written, none counts as written.
        TableFailsAsOne,
        /// A table sector counts wherever it stands.
        TablePlaceUnchecked,
        /// Behind the durable end chunks count without being verified whole.
        TailUnverified,
        /// A block is granted and taken in one round: both checks in the other order.
        TakenBeforeGrantFlushed,
        /// A header page that a power cut tore counts.
        TornHeaderAccepted,
        /// Blocks are overwritten in the order in which they stand on the disk.
        VictimsInDiskOrder,
        /// Blocks and chunks count whatever volume they are of.
        VolumeUnchecked,
        /// Watermarks move before the flush.
        WatermarkBeforeFlush,
        /// A failed write counts as done.
        WriteErrorIgnored,
        /// Round records name the first stream as the owner of every block.
        WrongStreamNamed,
        /// A later look does not read again what was written to the table since.
        WrittenRowsNotReadAgain,
        /// A later look reads no rows of the table again but those that stand in a record.
        FoundRowsNotReadAgain,
        /// A later look takes no rows of a page of the table but those that it looks for.
        PageNeighboursNotRead,
        /// A later look does not look again at what was not durable yet.
        RememberedTailBelieved,
        /// A later look goes by the headers of what was not durable yet, whatever stands behind them.
        RememberedTailUnverified,
        /// A later look goes on behind what was found of a block, though that is overwritten.
        WalkGoesOnWhereErased,
        /// A record that is missing ends what a later look finds of those since.
        HoleEndsLog,
        /// A later look goes on from its record whether it stands or not.
        KnownRecordNotLookedAt,
        /// Of the record that it goes on from a later look looks at the head alone.
        KnownBodyNotLookedAt,
        /// A later look goes on from the records of one writer to those of the next.
        OtherWriterUnnoticed,
    }

    thread_local! {
        static ON: Cell<&'static [Bug]> = const { Cell::new(&[]) };
    }

    /// Whether a bug is switched on in this thread.
    pub(crate) fn is_on(bug: Bug) -> bool {
        ON.get().contains(&bug)
    }

    /// Runs something in this thread while these bugs are switched on.
    pub(crate) fn with<T>(bugs: &'static [Bug], run: impl FnOnce() -> T) -> T {
        struct Off;
        impl Drop for Off {
            fn drop(&mut self) {
                ON.set(&[]);
            }
        }
        ON.set(bugs);
        let _off = Off;
        run()
    }
}
